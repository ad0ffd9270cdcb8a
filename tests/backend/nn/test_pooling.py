from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from satseg.backend.nn.pooling import AdaptiveMean, adaptive_mean


@pytest.mark.parametrize("cells", [(1, 1), (6, 3), (5, 7), (20, 11)])
def test_the_form_that_exports_has_the_means_of_torch(cells: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 3, 17, 11, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(x, cells)
    assert torch.equal(adaptive_mean(x, *cells), expected)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.allclose(adaptive_mean(x, *cells), expected, rtol=1e-12)


def test_a_layer_has_as_many_rows_as_columns() -> None:
    assert AdaptiveMean(3)(torch.rand(1, 2, 8, 9)).shape == (1, 2, 3, 3)
