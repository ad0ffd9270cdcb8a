"""What is published: the wheel holds what users need and no more, and its index page leads nowhere wrong.

Covers ``version``.
"""

from __future__ import annotations

import email
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import satseg

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ANOTHER = re.compile(r"\bsatseg\[|\b(?:install|add)\b[^\n]*(?<![\w/.-])satseg(?![\w-])|--from[ =]satseg(?![\w-])")
"""The package of another author: what is installed as ``satseg``, with or without extras."""
RELATIVE = re.compile(r"\]\((?!https?://|#)[^)]*\)")


@pytest.fixture
def for_index(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """The function that rewrites the README; the build tool that calls it need not be there."""
    tool = ModuleType("hatchling.metadata.plugin.interface")
    tool.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, tool.__name__, tool)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.for_index


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def test_the_index_page_shows_the_picture_from_the_repository(for_index: Callable[[str, str], str]) -> None:
    page = for_index(README, "https://host/owner/satseg")
    assert re.search(r"!\[Two views [^\]]+\]\(https://host/owner/satseg/raw/HEAD/docs/demo\.png\)", page)
    assert "[Quickstart](https://host/owner/satseg/blob/HEAD/docs/quickstart.md)" in page
    assert not RELATIVE.findall(without_code(page))


def test_without_a_repository_the_index_page_has_words_for_links(for_index: Callable[[str, str], str]) -> None:
    page = for_index(README, "")
    assert RELATIVE.findall(without_code(README))
    assert not RELATIVE.findall(without_code(page))
    assert "*Two views of one part of a town" in page
    assert "[semantic versioning]" not in page
    assert "https://creativecommons.org/licenses/by/4.0/" in page


def test_code_and_absolute_links_are_left_as_they_are(for_index: Callable[[str, str], str]) -> None:
    text = "[a](https://b/c) [d](#e) [f](g.md)\n\n```sh\necho '[h](i.md)'\n```\n"
    assert for_index(text, "") == text.replace("[f](g.md)", "f")
    assert for_index(text, "https://r") == text.replace("g.md", "https://r/blob/HEAD/g.md")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pip install 'satseg[ray]'", True),
        ("uv add satseg", True),
        ("uvx --from satseg satseg demo", True),
        ("pip install 'satseg-cli[ray]'", False),
        ("uvx --from satseg-cli satseg demo", False),
        ("pip install ./satseg", False),
    ],
)
def test_lines_that_install_another_package_are_recognised(line: str, wrong: bool) -> None:
    assert bool(ANOTHER.search(line)) == wrong


def test_nothing_tells_users_to_install_the_package_of_another_author() -> None:
    folders = [(ROOT / name).rglob("*") for name in ("satseg", "docs", "examples")]
    files = [file for folder in [ROOT.glob("*"), *folders] for file in folder if file.is_file()]
    texts = {
        file: file.read_text(encoding="utf-8") for file in files if file.suffix in (".md", ".py", ".ipynb", ".yml")
    }
    assert len(texts) > 200
    assert [str(file) for file, text in texts.items() if ANOTHER.search(text)] == []


def test_the_distribution_is_satseg_cli_and_the_command_satseg() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], list(project["scripts"])) == ("satseg-cli", ["satseg"])


@pytest.mark.slow
def test_the_wheel_holds_data_types_and_licences_and_no_tests(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(wheel.read(metadata))
        licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    package = {str(file.relative_to(ROOT)) for file in (ROOT / "satseg").rglob("*.py")}
    data = {str(file.relative_to(ROOT)) for file in (ROOT / "satseg" / "sample").iterdir() if file.is_file()}
    assert names >= package | data | {"satseg/py.typed"}
    assert {name.partition("/")[0] for name in names} == {"satseg", metadata.partition("/")[0]}
    assert licences == {"LICENSE", "ATTRIBUTION.md"}
    assert about["Name"] == "satseg-cli"
    assert about["Version"] == satseg.__version__
    assert about["Description-Content-Type"] == "text/markdown"
    assert "satseg tile scene.tif" in about.get_payload()
