"""Networks from files of the user."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from satseg.backend import create_model, is_custom_file, object_outputs, recorded_name, run_custom_file
from satseg.errors import ArchitectureError
from satseg.objects import ObjectOutputs

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
    assert is_custom_file(arch)
    assert not is_custom_file("erfnet")


def test_record_holds_no_folder() -> None:
    assert recorded_name("/home/somebody/nets/net.py:tiny") == "net.py:tiny"
    assert recorded_name("erfnet") == "erfnet"


def test_function_builds_the_network_with_its_options(net: Path) -> None:
    model = create_model(run_custom_file(f"{net}:tiny"), in_channels=5, num_classes=3, width=8)
    assert model[0].weight.shape == (8, 5, 3, 3)
    assert model.training


def test_own_network_refuses_unknown_options_as_any_does(net: Path) -> None:
    with pytest.raises(ArchitectureError, match="tiny does not take the option 'widht'") as caught:
        create_model(run_custom_file(f"{net}:tiny"), in_channels=3, num_classes=2, widht=8)
    assert caught.value.hint == "Did you mean width?"


@pytest.mark.parametrize(("function", "found"), [("halving", r"\(1, 2, 16, 16\)"), ("no_network", "returns str")])
def test_network_that_breaks_the_contract_is_refused_with_what_it_returns(net: Path, function: str, found: str) -> None:
    with pytest.raises(ArchitectureError, match=found):
        create_model(run_custom_file(f"{net}:{function}"), in_channels=3, num_classes=2)


def test_mistyped_function_is_answered_with_the_nearest(net: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"net\.py has no function named 'tinny'") as caught:
        run_custom_file(f"{net}:tinny")
    assert caught.value.hint == "Did you mean tiny?"


def test_file_without_a_function_says_how_to_name_it(net: Path) -> None:
    with pytest.raises(ArchitectureError, match="names no function") as caught:
        run_custom_file(str(net))
    assert "file.py:function" in caught.value.hint


def test_missing_file_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"nowhere\.py does not exist"):
        run_custom_file("nowhere.py:tiny")


def test_file_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(ArchitectureError, match=r"broken\.py cannot be run: ModuleNotFoundError"):
        run_custom_file(f"{tmp_path / 'broken.py'}:tiny")


MODULE = """
import sys
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.head = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, images):
        {forward}

def net(*, in_channels, num_classes):
    return Net(in_channels, num_classes)
"""


def own(tmp_path: Path, source: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(source)
    return path


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef net(:\n", r"mine\.py cannot be run: SyntaxError in line 2"),
        ("import sys\n\nsys.exit(0)\n", r"mine\.py cannot be run: it ends the program \(sys\.exit\) in line 3"),
        ("raise SystemExit\n", r"mine\.py cannot be run: it ends the program"),
        ("class Odd(Exception): pass\nraise Odd\n", r"mine\.py cannot be run: Odd in line 2 of mine\.py\."),
        ("net = 5\n", r"mine\.py has no function named 'net'"),
        ("\0", r"mine\.py cannot be run: (SyntaxError|ValueError)"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_with_its_line(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match=said):
        run_custom_file(f"{own(tmp_path, source)}:net")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def net(bands, classes): pass", r"net cannot be called with in_channels, num_classes: .*'bands'"),
        ("def net(in_channels, num_classes, depth): pass", "cannot be called with .*: missing a required argument"),
        ("def net(): pass", "cannot be called with"),
        ("net = int", "int"),
        ("def net(**any):\n    raise KeyError('k')", r"The function net fails: KeyError in line 2 of mine\.py: 'k'"),
        ("import sys\ndef net(**any):\n    sys.exit()", r"The function net fails: it ends the program .* line 3"),
    ],
)
def test_a_function_that_builds_nothing_is_told(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match=said):
        create_model(run_custom_file(f"{own(tmp_path, source)}:net"), in_channels=3, num_classes=2)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (
            "return self.head(images)[..., :-1, :]",
            r"returns \(1, 2, 32, 33\) for images of shape \(1, 3, 33, 33\)",
        ),
        ("return self.head(F.pad(images, (1, 0) if images.shape[-1] % 2 == 0 else (0, 0)))", r"\(1, 2, 33, 65\)"),
        ("return self.head(images)[:, :1]", r"returns \(1, 1, 33, 33\)"),
        ("return {'out': self.head(images)}", "returns dict for images of shape"),
        ("return (self.head(images),)", "returns tuple for images of shape"),
        ("return self.head(images) / 0", "returns NaN or infinity for images of shape"),
        ("return self.head(images).argmax(1, keepdim=True).expand(-1, 2, -1, -1)", "returns int64 for images of shape"),
        ("return F.dropout(self.head(images))", "returns different logits"),
        (
            "return self.head(images.double())",
            r"Net fails on images of shape \(1, 3, 33, 33\): RuntimeError in line 13",
        ),
        ("sys.exit(3)", r"Net fails on images of shape \(1, 3, 33, 33\): it ends the program \(sys\.exit\) in line 13"),
    ],
)
def test_a_network_that_breaks_the_contract_is_told_before_it_is_used(forward: str, said: str, tmp_path: Path) -> None:
    builder = run_custom_file(f"{own(tmp_path, MODULE.format(forward=forward))}:net")
    with pytest.raises(ArchitectureError, match=said):
        create_model(builder, in_channels=3, num_classes=2)


def test_what_a_file_of_the_user_prints_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "print('at import')\n" + MODULE.format(forward="print('at work'); return self.head(images)")
    model = create_model(run_custom_file(f"{own(tmp_path, source)}:net"), in_channels=3, num_classes=2)
    model(torch.zeros(1, 3, 33, 33))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "at import" in printed.err
    assert "at work" in printed.err


def test_a_network_is_built_without_memory_where_only_its_shape_is_asked(net: Path) -> None:
    with torch.device("meta"):
        assert next(create_model(run_custom_file(f"{net}:tiny"), in_channels=3, num_classes=2).parameters()).is_meta


def test_a_class_and_a_function_of_any_options_build_networks_too(tmp_path: Path) -> None:
    source = MODULE.format(forward="return self.head(images)") + "def any(**options): return Net(**options)\n"
    path = own(tmp_path, source)
    for function in ("Net", "any"):
        assert create_model(run_custom_file(f"{path}:{function}"), in_channels=3, num_classes=2).training


@pytest.mark.parametrize(
    ("arch", "options", "said"),
    [
        ("fcn8s", {"dropout": "much"}, "takes the option dropout as float or int, not .much."),
        ("unet", {"encoder": 5}, "takes the option encoder as str or None, not 5"),
        ("deeplabv3", {"output_stride": True}, "takes the option output_stride as int, not true"),
        ("fcn8s", {"dropout": 5.0}, "fcn8s cannot be built with dropout=5.0: dropout probability"),
    ],
)
def test_options_of_another_kind_are_refused(arch: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        create_model(arch, in_channels=3, num_classes=2, **options)


def test_name_of_a_file_runs_nothing_in_create_model(tmp_path: Path) -> None:
    """What a checkpoint says goes to ``create_model`` as a string: it must stay a name."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ArchitectureError, match="There is no network named"):
        create_model(f"{tmp_path / 'evil.py'}:tiny", in_channels=3, num_classes=2)
    assert not (tmp_path / "ran").exists()


def test_a_function_that_takes_objects_brings_its_own_outputs_for_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def own(*, in_channels, num_classes, objects=False):\n"
        "    return nn.Conv2d(in_channels, num_classes + 3 * objects, 1)\n"
        "def forgotten(*, in_channels, num_classes, objects=False):\n"
        "    return nn.Conv2d(in_channels, num_classes, 1)\n"
        "def common(*, in_channels, num_classes):\n"
        "    return nn.Conv2d(in_channels, num_classes, 1)\n"
    )
    own, forgotten, common = (
        run_custom_file(f"{tmp_path / 'net.py'}:{name}") for name in ("own", "forgotten", "common")
    )
    assert [object_outputs(one) for one in (own, common)] == [ObjectOutputs.CENTRES, ObjectOutputs.EDGES]
    for builder, more in ((own, 3), (common, 2)):
        for objects in (False, True):
            model = create_model(builder, in_channels=1, num_classes=2, objects=objects)
            assert model(torch.zeros(1, 1, 40, 40)).shape == (1, 2 + more * objects, 40, 40)
    with pytest.raises(ArchitectureError, match=r"returns \(1, 2, 33, 33\) .* logits \(1, 5, 33, 33\)"):
        create_model(forgotten, in_channels=1, num_classes=2, objects=True)
