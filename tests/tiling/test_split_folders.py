"""Data sets whose folders say which split a scene is of."""

from __future__ import annotations

import logging

import pytest

from satseg.tiling.split_folders import warn_of_split_folders


def told(caplog: pytest.LogCaptureFixture, files: list[tuple[str, ...]], *patterns: str) -> str:
    with caplog.at_level(logging.WARNING, "satseg"):
        warn_of_split_folders(files, patterns)
    return caplog.text.split("run: ")[-1].strip()


@pytest.mark.parametrize(
    ("patterns", "lines"),
    [
        (
            ("d/*/images/{stem}.tif", "d/*/masks/{stem}.tif"),
            "`pairs=('d/train/images/{stem}.tif', 'd/train/masks/{stem}.tif')` `split='train'`; then "
            "`pairs=('d/Valid/images/{stem}.tif', 'd/Valid/masks/{stem}.tif')` `split='val'` `append=True`",
        ),
        (
            ("d/**/{stem}.tif", "d/*/masks/{stem}.tif"),
            "`pairs=('d/**/train/**/{stem}.tif', 'd/train/masks/{stem}.tif')` `split='train'`; then "
            "`pairs=('d/**/Valid/**/{stem}.tif', 'd/Valid/masks/{stem}.tif')` `split='val'` `append=True`",
        ),
    ],
)
def test_patterns_over_several_splits_are_told_with_the_lines_that_keep_them(
    patterns: tuple[str, str], lines: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = [(f"d/{split}/images/1.tif", f"d/{split}/masks/1.tif") for split in ("Valid", "train")]
    assert told(caplog, files, *patterns) == lines


def test_scenes_without_patterns_are_told_by_their_folders(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, [("train/a.tif",), ("test/b.tif",)]) == (
        "only the scenes of train, with `split='train'`; then only the scenes of test, with `split='test'` "
        "`append=True`"
    )


@pytest.mark.parametrize(
    "folders", [("train", "train"), ("val/test", "train/test"), ("north", "south"), ("train", "x")]
)
def test_folders_of_one_split_say_nothing(folders: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, [(f"{folder}/{number}.tif",) for number, folder in enumerate(folders)]) == ""
