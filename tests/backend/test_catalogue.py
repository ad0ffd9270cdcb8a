from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from satseg.backend import create_model, lasting_options, list_architectures
from satseg.backend.catalogue import FAMILIES, MEASURED, read_source
from satseg.errors import ArchitectureError

HEAD = '''
def _private(): ...

def tinynet(*, in_channels, num_classes):
    """Build TinyNet: one convolution.

    Paper: Nobody, "A network: with a colon", arXiv 0000.00000
    Year: 2031
    Family: dilated
    Encoder: own
    Parameters: 1,234
    Multiply-adds: 0.2 G
    Output stride: 4
    Rate: 2.5e-4
    Use: nothing at all

    More text.
    """
'''


def test_source_gives_name_and_head(tmp_path: Path) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text(HEAD)
    (architecture,) = read_source(path)
    assert (architecture.name, architecture.title, architecture.summary) == ("tinynet", "TinyNet", "one convolution")
    assert architecture.paper == 'Nobody, "A network: with a colon", arXiv 0000.00000'
    assert (architecture.year, architecture.encoder) == (2031, "own")
    assert (architecture.parameters, architecture.output_stride) == (1234, 4)
    assert (architecture.multiply_adds, architecture.use) == (200_000_000, "nothing at all")
    assert (architecture.rate, architecture.warm_up) == (2.5e-4, None)


def test_what_has_not_been_measured_is_none(tmp_path: Path) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text(HEAD)
    (architecture,) = read_source(path)
    assert (architecture.receptive_field, architecture.exportable, architecture.hindrance) == (None, None, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_is_one_of_those_there_are(tmp_path: Path, family: str) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text(HEAD.replace("dilated", family))
    assert [architecture.family for architecture in read_source(path)] == [family]


def test_a_family_that_does_not_exist_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text(HEAD.replace("dilated", "fast"))
    with pytest.raises(ArchitectureError, match=r"tinynet .*'fast'") as caught:
        list(read_source(path))
    assert "real-time" in caught.value.hint


def test_arguments_tell_of_encoders_and_of_a_branch_for_instances() -> None:
    said = {entry.name: (entry.takes_encoder, entry.instance_branch) for entry in list_architectures()}
    assert (said["erfnet"], said["unet"], said["panoptic_deeplab"]) == ((False, False), (True, False), (True, True))


def test_every_network_and_no_other_has_been_measured() -> None:
    """``python tests/benchmarks/measure_networks.py NAME`` measures one more."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert sorted(measured) == [entry.name for entry in list_architectures()]


def test_a_network_may_ask_for_a_warm_up(tmp_path: Path) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text(HEAD.replace("    Use:", "    Warm-up: 0.1\n    Use:"))
    (architecture,) = read_source(path)
    assert (architecture.warm_up, architecture.use) == (0.1, "nothing at all")


@pytest.mark.parametrize(
    "line", ["Paper", "Year", "Family", "Encoder", "Parameters", "Multiply-adds", "Output stride", "Rate", "Use"]
)
def test_missing_line_of_the_head_is_named_with_its_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tinynet.py"
    path.write_text("".join(row for row in HEAD.splitlines(keepends=True) if f"{line}:" not in row))
    with pytest.raises(ArchitectureError, match=r"tinynet in .*tinynet\.py"):
        list(read_source(path))


def test_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def (")
    with pytest.raises(ArchitectureError, match=r"broken\.py is not valid Python"):
        list(read_source(path))


def test_listing_imports_no_torch() -> None:
    code = "import sys, satseg; satseg.list_architectures(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_building_imports_only_the_file_of_that_network() -> None:
    code = (
        "import sys, satseg; satseg.create_model('erfnet', in_channels=1, num_classes=2);"
        "sys.exit('satseg.backend.models.unet' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("typed", "meant"), [("erfent", "erfnet"), ("ERFNet", "erfnet"), ("U-Net", "unet")])
def test_mistyped_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(ArchitectureError, match=typed) as caught:
        create_model(typed, in_channels=3, num_classes=2)
    assert caught.value.hint.startswith("Did you mean")
    assert meant in caught.value.hint


def test_name_near_nothing_is_answered_with_the_list() -> None:
    with pytest.raises(ArchitectureError) as caught:
        create_model("qqqq", in_channels=3, num_classes=2)
    assert "satseg models" in caught.value.hint


def test_unknown_option_is_named_with_what_the_network_takes() -> None:
    with pytest.raises(ArchitectureError, match="unet does not take the option 'colour'") as caught:
        create_model("unet", in_channels=3, num_classes=2, colour="red")
    assert "bilinear" in caught.value.hint


def test_mistyped_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(ArchitectureError) as caught:
        create_model("unet", in_channels=3, num_classes=2, bilinaer=True)
    assert caught.value.hint == "Did you mean bilinear?"


@pytest.mark.parametrize("counts", [{"in_channels": 0, "num_classes": 2}, {"in_channels": 3, "num_classes": 0}])
def test_counts_below_one_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(ArchitectureError, match="at least 1, not 0"):
        create_model("erfnet", **counts)


def test_every_network_of_the_folder_is_listed() -> None:
    assert {"erfnet", "unet"} <= {architecture.name for architecture in list_architectures()}


def test_options_for_starting_weights_do_not_last() -> None:
    options = {"encoder": "resnet18", "pretrained": True, "encoder_weights": "some.file", "dropout": 0.1}
    assert lasting_options(options) == {"encoder": "resnet18", "dropout": 0.1}
