from __future__ import annotations

import pytest
import torch

from satseg.backend.nn.padding import pad_to_multiple


@pytest.mark.parametrize(("size", "padded"), [((32, 64), (32, 64)), ((33, 47), (64, 64)), ((63, 32), (64, 32))])
def test_sides_become_multiples_and_the_image_stays_in_its_corner(size: tuple, padded: tuple) -> None:
    images = torch.rand(1, 2, *size)
    result = pad_to_multiple(images, 32)
    assert result.shape[-2:] == padded
    assert torch.equal(result[..., : size[0], : size[1]], images)


def test_continuation_mirrors_the_edge() -> None:
    images = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 8, 5)
    assert pad_to_multiple(images, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize("size", [(64, 64), (33, 65), (2, 3), (100, 7)])
@pytest.mark.parametrize("extra", [0, 1])
def test_the_form_that_exports_gives_the_same_pixels(
    size: tuple[int, int], extra: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(1, 2, *size)
    expected = [pad_to_multiple(images, multiple, extra=extra) for multiple in (8, 224)]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert all(map(torch.equal, [pad_to_multiple(images, multiple, extra=extra) for multiple in (8, 224)], expected))
