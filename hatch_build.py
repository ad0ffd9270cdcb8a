"""What an index page shows: the README with links and pictures that work there, and the addresses of the project.

Both follow from one line of ``pyproject.toml``: ``repository`` under ``[tool.hatch.metadata.hooks.custom]``. While it
is empty there is nothing to link to: links become plain text, and pictures the words that describe them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Fills the fields ``readme`` and ``urls``."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill the fields of the project's metadata."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_index(text, repository)}
        if repository:
            metadata["urls"] = {
                "Repository": repository,
                "Documentation": f"{repository}/tree/HEAD/docs",
                "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }


def for_index(text: str, repository: str) -> str:
    """Return a README for pages outside of the repository.

    Args:
        text: Markdown whose relative links lead to files of the repository.
        repository: Its address, without a slash at the end; empty where it has none.
    """

    def picture(found: re.Match[str]) -> str:
        if _is_absolute(found["target"]):
            return found[0]
        return f"![{found['text']}]({repository}/raw/HEAD/{found['target']})" if repository else f"*{found['text']}*"

    def link(found: re.Match[str]) -> str:
        if _is_absolute(found["target"]):
            return found[0]
        return f"[{found['text']}]({repository}/blob/HEAD/{found['target']})" if repository else found["text"]

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)  # code is left as it is
    parts[::2] = [_LINK.sub(link, _PICTURE.sub(picture, part)) for part in parts[::2]]
    return "".join(parts)


def _is_absolute(target: str) -> bool:
    return target.startswith("#") or "://" in target
