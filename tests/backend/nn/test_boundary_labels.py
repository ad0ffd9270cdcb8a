from __future__ import annotations

import torch

from satseg.backend.nn.boundary_labels import boundaries


def test_pixels_near_another_class_are_boundary_and_ignored_ones_neither_are_nor_make_any() -> None:
    labels = torch.zeros(2, 8, 12, dtype=torch.int64)
    labels[0, :, 6:] = 3
    labels[0, :, 10:] = 255
    labels[1, 2, 3] = 1
    labels[1, 2, 4] = 255
    found = boundaries(labels, reach=2)
    expected = torch.zeros_like(labels, dtype=torch.bool)
    expected[0, :, 4:8] = True
    expected[1, :5, 1:6] = True
    expected[1, 2, 4] = False
    assert torch.equal(found, expected)


def test_labels_of_one_class_or_none_have_no_boundary() -> None:
    assert not boundaries(torch.full((1, 9, 9), 2), reach=4).any()
    assert not boundaries(torch.full((1, 9, 9), 255), reach=4).any()
