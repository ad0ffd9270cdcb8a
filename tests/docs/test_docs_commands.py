"""Every command of the documentation runs as it stands there, on small files and with two steps of training.

Pages of complete projects run in ``tests/projects``, on files of their own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import stage
from pages import NAMES, script

SCRIPTS = {page: script(page) for page in NAMES}
IN_PROJECTS = {f"docs/how-to/{name}.md" for name in ("buildings", "fields", "floods", "pairs")}
FROM_FILES = {"README.md", "docs/quickstart.md", "docs/concepts/tiles.md", "docs/commands/tile.md"}
TRAINED = """
satseg tile scene.tif --labels buildings.gpkg --size 128
satseg train tiles --arch erfnet --batch-size 2
satseg predict other.tif scenes/west.tif -o 'made/{stem}.tif'
satseg vectorize made/other.tif -o polygons.gpkg
cp made/other.tif classes.tif; cp made/west.tif other-classes.tif; cp -r runs/erfnet-1 runs/second
"""

Shell = Callable[..., None]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    stage.town(folder)
    return folder


@pytest.fixture(scope="session")
def trained(files: Path, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, with tiles of the scene, a network trained on them, and maps that it made."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(files, folder)
    shell(TRAINED, folder)
    return folder


@pytest.mark.parametrize("page", [page for page, text in SCRIPTS.items() if text and page not in IN_PROJECTS])
def test_the_commands_of_a_page_run(page: str, shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "project"
    if page == "docs/how-to/land-cover.md":
        folder.mkdir()
        stage.sentinel(folder)
    else:
        shutil.copytree(request.getfixturevalue("files" if page in FROM_FILES else "trained"), folder)
    shell(SCRIPTS[page], folder)
