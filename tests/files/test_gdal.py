"""Options of GDAL, while satseg works."""

from __future__ import annotations

import pytest
from rasterio import env

from satseg.files.gdal import gdal_environment, looking_beside


def test_an_interruption_while_an_inner_context_is_left_is_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    left = env.delenv
    interruptions = [KeyboardInterrupt()]

    def leave() -> None:
        left()
        if interruptions:
            raise interruptions.pop()

    monkeypatch.setattr(env, "delenv", leave)

    with pytest.raises(KeyboardInterrupt), gdal_environment(), looking_beside(remote=False):
        pass

    with gdal_environment():  # and the next one finds everything as it was
        assert env.getenv()["GDAL_NUM_THREADS"] == "1"
    assert not env.hasenv()
