from __future__ import annotations

import subprocess
import sys

import pytest

from satseg.errors import ArchitectureError, UsageError
from satseg.records import as_json
from satseg.workflows.models import models


def test_networks_are_listed_by_name_and_go_into_json() -> None:
    listed = as_json(models())
    names = [entry["name"] for entry in listed]
    assert names == sorted(names)
    erfnet = next(entry for entry in listed if entry["name"] == "erfnet")
    assert (erfnet["title"], erfnet["parameters"], erfnet["output_stride"]) == ("ERFNet", 2_064_191, 8)


def test_networks_are_chosen_by_parts_of_names_titles_families_and_encoders() -> None:
    assert [entry.name for entry in models("deeplab")] == [
        "autodeeplab",
        "deeplabv1",
        "deeplabv2",
        "deeplabv3",
        "deeplabv3plus",
        "panoptic_deeplab",
    ]
    assert [entry.name for entry in models("ddrnet23")] == ["ddrnet23"]  # not the slim one
    assert {entry.name for entry in models(["U-Net", "xception"])} == {"unet", "deeplabv3plus"}
    assert {"erfnet", "esnet", "espnet"} <= {entry.name for entry in models("real-time")}
    with pytest.raises(ArchitectureError, match="unett"):
        models("unett")


@pytest.mark.parametrize(
    ("sort", "field"), [("parameters", "parameters"), ("multiply-adds", "multiply_adds"), ("stride", "output_stride")]
)
def test_networks_are_sorted_the_smallest_first(sort: str, field: str) -> None:
    values = [getattr(entry, field) for entry in models(sort=sort)]
    assert values == sorted(values)
    assert len(values) == len(models())


def test_networks_that_see_the_whole_image_come_last_by_their_field() -> None:
    fields = [entry.receptive_field for entry in models(sort="field")]
    bounded = [field for field in fields if field is not None]
    assert 0 < len(bounded) < len(fields)
    assert fields == sorted(bounded) + [None] * (len(fields) - len(bounded))


def test_networks_of_a_family_stand_together() -> None:
    families = [entry.family for entry in models(sort="family")]
    assert families == sorted(families)


def test_an_unknown_order_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'size'") as caught:
        models(sort="size")
    assert "multiply-adds" in str(caught.value.hint)


def test_listing_imports_nothing_heavy() -> None:
    code = "import sys; from satseg.workflows.models import models; models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
