from __future__ import annotations

import pickle

import pytest

from satseg.errors import ReadError, SatsegError, SceneError, UsageError


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
    assert str(arrived) == error.message
