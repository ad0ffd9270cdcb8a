"""Settings in sentences, as flags."""

from __future__ import annotations

import pytest

from satseg.cli.flags import with_flags

FLAGS = {
    name: "--" + name.replace("_", "-") for name in ("gsd", "resume", "overwrite", "class_map", "min_area", "bands")
}
OTHERS = {"tile": {"size": "--size", "gsd": "--gsd"}, "train": {"epochs": "--epochs", "pictures": "--pictures"}}


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("`gsd='scene'` is slow.", "--gsd scene is slow."),
        ("Leave out `resume=True`.", "Leave out --resume."),
        ("Replace it with `overwrite`.", "Replace it with --overwrite."),
        ("Drop `resume=False`.", "Drop --no-resume."),
        ("Pass `bands=[4, 3, 2]`.", "Pass --bands 4,3,2."),
        ("Pass `bands=('a, b', 'c')`.", """Pass --bands '"a, b",c'."""),
        ("`class_map={0: 'background', 1: 'a b'}`", "--class-map '0=background,1=a b'"),
        ("Such as `class_map={0: ...}`.", "Such as --class-map 0=...."),
        ("`min_area=0.5m2` is small.", "--min-area 0.5m2 is small."),
        ("`min_area=10`", "--min-area 10"),
        ("`other='a'` and `gsd`", "`other='a'` and --gsd"),
        ("Run `satseg.tile` with `size=128`.", "Run `satseg tile` with --size 128."),
        ("`train` takes `epochs=3`", "`satseg train` takes --epochs 3"),
        ("`size=128` of `tile`", "`size=128` of `satseg tile`"),
        ("nothing here", "nothing here"),
    ],
)
def test_settings_become_flags(sentence: str, shown: str) -> None:
    assert with_flags(sentence, FLAGS, OTHERS) == shown
