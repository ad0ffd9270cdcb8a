"""Validate STAC Items by the official schemas, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pystac
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_model.schema import MLModelProperties

_SCHEMAS = Path(__file__).with_name("data") / "stac"


class _Offline(JsonSchemaSTACValidator):
    """Knows the core schemas, which come with pystac, and those of the folder; fetches none."""

    def __init__(self) -> None:
        super().__init__()
        for file in _SCHEMAS.glob("*.json"):
            extension, version = file.stem.split("-")
            schema = json.loads(file.read_text(encoding="utf-8"))
            self.schema_cache[f"https://stac-extensions.github.io/{extension}/{version}/schema.json"] = schema

    def _get_schema(self, schema_uri: str) -> dict[str, Any]:
        return self.schema_cache[schema_uri.removesuffix("#")]


def check_item(item: dict[str, Any]) -> None:
    """Raise an error if an item is not valid by the core, its extensions, or the data classes of the last of them."""
    validated = pystac.validation.validate(pystac.Item.from_dict(item, preserve_dict=True), validator=_Offline())
    assert set(item["stac_extensions"]) < set(validated)  # and those of the core
    own = {name.removeprefix("mlm:"): value for name, value in item["properties"].items() if name.startswith("mlm:")}
    MLModelProperties.model_validate(own)
