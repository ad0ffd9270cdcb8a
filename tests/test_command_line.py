"""Commands that outputs tell of can be typed again, but for secrets."""

from __future__ import annotations

import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.command_line import command_line, without_secrets

words = st.text(st.characters(exclude_characters="?@:\0", exclude_categories=["Cs"])).filter(
    lambda word: not word.startswith("/vsi")
)


@given(st.lists(words))
def test_a_shell_gives_back_the_words(given: list[str]) -> None:
    assert shlex.split(command_line(given)) == ["satseg", *given]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("https://host/a.tif?sig=s3cret&se=2026", "https://host/a.tif?..."),
        ("https://me:s3cret@host/a.tif", "https://...@host/a.tif"),
        ("https://host/a.tif?x=s3cret,https://host/b.tif?y=s3cret", "https://host/a.tif?...,https://host/b.tif?..."),
        ("/vsicurl?header.Authorization=s3cret&url=https://host/a.tif", "/vsicurl?..."),
        ("/vsicurl/https://host/a.tif?s3cret", "/vsicurl/https://host/a.tif?..."),
        ("/vsizip//vsicurl/https://host/a.zip?s3cret", "/vsizip//vsicurl/https://host/a.zip?..."),
        ("s3://bucket/key.tif", "s3://bucket/key.tif"),
        ("what?.tif", "what?.tif"),
        ("me@home/a.tif", "me@home/a.tif"),
        ("a b/c'd.tif", "a b/c'd.tif"),
        (os.fsdecode(b"b\xe2t.tif"), r"b\xe2t.tif"),
    ],
)
def test_signatures_and_passwords_of_urls_are_left_out(name: str, told: str) -> None:
    assert without_secrets(name) == told
    assert "s3cret" not in command_line(["predict", name])
