from __future__ import annotations

import pickle

import pytest
import torch

import satseg
from satseg.errors import ReadError, SatsegError, SceneError, UsageError, as_failure, naming


@pytest.mark.parametrize(
    "error",
    [
        UsageError("No such thing.", hint="Take another."),
        SceneError("It is broken."),
        ReadError("It cannot be read.", rows=(0, 7), columns=(3, 4), hint="Copy it again."),
    ],
)
def test_errors_travel_between_processes(error: SatsegError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "Mapping a.tif failed: there is not enough memory."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "Mapping a.tif failed: there is not enough memory."),
        (KeyError("band"), "Mapping a.tif failed by KeyError: 'band'."),
        (RuntimeError("could not create\na primitive."), "failed by RuntimeError: could not create a primitive."),
        (OSError(5, "Input/output error", "/mnt/a.tif"), "Mapping a.tif failed: Input/output error (/mnt/a.tif)."),
        (OSError("no number"), "failed by OSError: no number."),
        (AssertionError(), "Mapping a.tif failed by AssertionError."),
    ],
)
def test_an_exception_that_nobody_foresaw_is_told_by_its_cause(error: Exception, told: str) -> None:
    failure = as_failure(error, "Mapping a.tif")
    assert failure.message.endswith(told)
    assert failure.__cause__ is error


def test_notebooks_show_the_lines_of_the_user_and_the_message() -> None:
    with pytest.raises(SceneError) as caught:
        satseg.info("no-such-scene.tif")
    lines = caught.value._render_traceback_()
    assert lines[0] == "Traceback (most recent call last):"
    assert any('satseg.info("no-such-scene.tif")' in line for line in lines)
    assert lines[-1] == "satseg.errors.SceneError: no-such-scene.tif does not exist."
    assert not any("signatures.py" in line or "workflows" in line or "above exception" in line for line in lines)


def test_errors_of_ours_stay_what_they_are() -> None:
    error = SceneError("It is broken.")
    assert as_failure(error, "Mapping a.tif") is error


def test_errors_name_what_they_are_about() -> None:
    for message, told in (("It is broken.", "a.tif: It is broken."), ("a.tif is broken.", "a.tif is broken.")):
        with pytest.raises(SceneError) as caught, naming("a.tif"):
            raise SceneError(message, hint="Copy it again.")
        assert (caught.value.message, caught.value.hint) == (told, "Copy it again.")
        assert str(caught.value) == f"{told}\nhint: Copy it again."
