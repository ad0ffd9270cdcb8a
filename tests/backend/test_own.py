"""Networks from files of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from satseg.backend import create_model, is_own_file, recorded_name, run_own_file
from satseg.errors import ArchitectureError

NET = """
from dataclasses import dataclass
from torch import nn

@dataclass
class Width:
    value: int = 4

def tiny(*, in_channels, num_classes, width=Width().value):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, num_classes, 1))

def halving(*, in_channels, num_classes):
    return nn.Conv2d(in_channels, num_classes, 3, stride=2)

def no_network(*, in_channels, num_classes):
    return "a string"
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


@pytest.mark.parametrize("arch", ["net.py:tiny", "folder/net.py:tiny", r"C:\nets\net.py:tiny", "net.py"])
def test_files_are_told_from_names(arch: str) -> None:
    assert is_own_file(arch)
    assert not is_own_file("erfnet")


def test_record_holds_no_folder() -> None:
    assert recorded_name("/home/somebody/nets/net.py:tiny") == "net.py:tiny"
    assert recorded_name("erfnet") == "erfnet"


def test_function_builds_the_network_with_its_options(net: Path) -> None:
    model = create_model(run_own_file(f"{net}:tiny"), in_channels=5, num_classes=3, width=8)
    assert model[0].weight.shape == (8, 5, 3, 3)
    assert model.training


def test_own_network_refuses_unknown_options_as_any_does(net: Path) -> None:
    with pytest.raises(ArchitectureError, match="tiny does not take the option 'widht'") as caught:
        create_model(run_own_file(f"{net}:tiny"), in_channels=3, num_classes=2, widht=8)
    assert caught.value.hint == "Did you mean width?"


@pytest.mark.parametrize(("function", "found"), [("halving", r"\(1, 2, 16, 16\)"), ("no_network", "returns str")])
def test_network_that_breaks_the_contract_is_refused_with_what_it_returns(net: Path, function: str, found: str) -> None:
    with pytest.raises(ArchitectureError, match=found):
        create_model(run_own_file(f"{net}:{function}"), in_channels=3, num_classes=2)


def test_mistyped_function_is_answered_with_the_nearest(net: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"net\.py has no function named 'tinny'") as caught:
        run_own_file(f"{net}:tinny")
    assert caught.value.hint == "Did you mean tiny?"


def test_file_without_a_function_says_how_to_name_it(net: Path) -> None:
    with pytest.raises(ArchitectureError, match="names no function") as caught:
        run_own_file(str(net))
    assert "file.py:function" in caught.value.hint


def test_missing_file_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"nowhere\.py does not exist"):
        run_own_file("nowhere.py:tiny")


def test_file_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(ArchitectureError, match=r"broken\.py cannot be run: ModuleNotFoundError"):
        run_own_file(f"{tmp_path / 'broken.py'}:tiny")


def test_name_of_a_file_runs_nothing_in_create_model(tmp_path: Path) -> None:
    """What a checkpoint says goes to ``create_model`` as a string: it must stay a name."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ArchitectureError, match="There is no network named"):
        create_model(f"{tmp_path / 'evil.py'}:tiny", in_channels=3, num_classes=2)
    assert not (tmp_path / "ran").exists()
