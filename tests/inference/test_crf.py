"""The truncated dense CRF: its sums, its blocks, and what it is good for."""

from __future__ import annotations

import math

import geopandas
import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from rasterio.features import rasterize
from rasterio.windows import Window
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.errors import UsageError
from satseg.inference.crf import CRF, refine, refined_blocks
from satseg.records import BandStatistics
from satseg.sample import sample


def random_scene(height: int, width: int, *, classes: int = 3, bands: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities, an image and which pixels are valid."""
    generator = torch.Generator().manual_seed(5)
    probabilities = torch.rand(classes, height, width, generator=generator).softmax(dim=0)
    image = torch.rand(bands, height, width, generator=generator) / 5
    return probabilities, image, torch.rand(height, width, generator=generator) > 0.1


def refine_pixel_by_pixel(probabilities: np.ndarray, image: np.ndarray, valid: np.ndarray, crf: CRF) -> np.ndarray:
    """The mean-field update as the paper writes it, one pair of pixels after the other."""
    classes, height, width = probabilities.shape
    r = crf.radius
    q = probabilities.copy()
    for _ in range(crf.iterations):
        new = q.copy()
        for y, x in zip(*np.nonzero(valid), strict=True):
            alike, near = np.zeros(classes), np.zeros(classes)
            alike_sum = near_sum = 1.0
            for dy, dx in np.ndindex(2 * r + 1, 2 * r + 1):
                v, u = y + dy - r, x + dx - r
                if (v, u) == (y, x) or not (0 <= v < height and 0 <= u < width) or not valid[v, u]:
                    continue
                distance = (v - y) ** 2 + (u - x) ** 2
                values = ((image[:, y, x] - image[:, v, u]) ** 2).mean() * 3
                if distance <= r * r:
                    exponent = distance / crf.appearance_distance**2 + values / crf.appearance_value**2
                    alike += math.exp(-exponent / 2) * q[:, v, u]
                    alike_sum += math.exp(-exponent / 2)
                near += math.exp(-distance / (2 * crf.smoothness_distance**2)) * q[:, v, u]
                near_sum += math.exp(-distance / (2 * crf.smoothness_distance**2))
            drawn = crf.appearance_weight * alike / alike_sum + crf.smoothness_weight * near / near_sum
            scores = np.exp(np.log(probabilities[:, y, x]) + drawn)
            new[:, y, x] = scores / scores.sum()
        q = new
    return q


@pytest.mark.parametrize("bands", [1, 3, 7])
def test_refined_probabilities_are_those_of_the_paper(bands: int) -> None:
    crf = CRF(iterations=2, radius=3, appearance_value=0.1, smoothness_distance=1.5)
    probabilities, image, valid = random_scene(9, 11, bands=bands)
    expected = refine_pixel_by_pixel(probabilities.double().numpy(), image.numpy(), valid.numpy(), crf)
    found = refine(probabilities, image, valid, crf)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(9, 11))


class Stored:
    """A scene and its probabilities in 8 bits, read window by window."""

    def __init__(self, height: int, width: int) -> None:
        probabilities, image, valid = random_scene(height, width)
        self.shares = (probabilities * 254).round().to(torch.uint8).numpy()
        self.image, self.valid = (image * 255).to(torch.uint8).numpy(), valid.numpy()

    def probabilities(self, window: Window) -> np.ndarray:
        return self.shares[:, *window.toslices()]

    def pixels(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        return self.image[:, *window.toslices()], self.valid[window.toslices()]


STATISTICS = BandStatistics(1, (25.0,) * 3, (15.0,) * 3, (0.0,) * 3, (51.0,) * 3)


def refine_in_blocks(stored: Stored, block: int, first_row: int = 0) -> Tensor:
    """Return what all blocks together give, NaN where none lies."""
    result = torch.full(stored.shares.shape, math.nan)
    blocks = refined_blocks(
        stored.probabilities,
        stored.pixels,
        *stored.valid.shape,
        crf=CRF(iterations=3, radius=4, appearance_value=0.5),
        statistics=STATISTICS,
        device=torch.device("cpu"),
        first_row=first_row,
        block=block,
    )
    for found in blocks:
        rows, columns = found.valid.shape
        place = slice(found.top, found.top + rows), slice(found.left, found.left + columns)
        assert np.array_equal(found.valid, stored.valid[place])
        assert found.ends_row == (place[1].stop == stored.valid.shape[1])
        assert result[:, *place].isnan().all(), "blocks do not overlap"
        result[:, *place] = found.probabilities
    return result


@pytest.mark.parametrize("block", [13, 32, 64])
def test_blocks_give_the_bits_of_one_piece(block: int) -> None:
    stored = Stored(75, 101)
    whole = refine_in_blocks(stored, 1000)
    assert not whole.isnan().any()
    assert torch.equal(refine_in_blocks(stored, block), whole)


def test_blocks_from_a_later_row_on_are_those_from_the_top() -> None:
    stored = Stored(75, 40)
    later = refine_in_blocks(stored, 32, first_row=1)
    assert later[:, :32].isnan().all()
    assert torch.equal(later[:, 32:], refine_in_blocks(stored, 32)[:, 32:])


def test_invalid_pixels_keep_their_probabilities_and_draw_nobody() -> None:
    crf = CRF(iterations=2, radius=3)
    probabilities, image, valid = random_scene(20, 20)
    refined = refine(probabilities, image, valid, crf)
    assert torch.equal(refined[:, ~valid], probabilities[:, ~valid])
    other = torch.where(valid, probabilities, probabilities.flip(0))
    assert torch.equal(refine(other, image + 9.0 * ~valid, valid, crf)[:, valid], refined[:, valid])


def test_a_boundary_moves_to_the_edge_of_the_image() -> None:
    image = torch.zeros(1, 24, 24)
    image[:, :, 12:] = 1.0
    blurred = torch.linspace(0.05, 0.95, 24).expand(24, 24).roll(4, dims=1)  # even odds at column 15
    blurred = torch.where(torch.arange(24) < 4, 0.05, blurred)
    refined = refine(torch.stack([1 - blurred, blurred]), image, torch.ones(24, 24, dtype=torch.bool), CRF())
    assert torch.equal(refined.argmax(dim=0), image[0].long())


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"radius": 0}, {"appearance_value": 0}, {"smoothness_weight": -1}]
)
def test_parameters_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", " ")):
        CRF(**wrong)


class Coarse(nn.Module):
    """Features at a sixteenth of the resolution, interpolated: boundaries are blurred by design."""

    def __init__(self) -> None:
        super().__init__()
        layers = [conv_norm_act(a, b, stride=2) for a, b in ((3, 24), (24, 48), (48, 64), (64, 96))]
        self.net = nn.Sequential(*layers, conv_norm_act(96, 96), nn.Conv2d(96, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.net(images), size=images.shape[-2:], mode="bilinear")


def read_sample(path: object, window: Window) -> tuple[Tensor, Tensor]:
    """Return standardised bands (3, H, W) and labels (H, W) of a part of a scene of the sample."""
    with rasterio.open(path) as scene:
        bands = torch.from_numpy(scene.read((1, 2, 3), window=window)).float()
        shapes = geopandas.read_file(sample().labels).to_crs(scene.crs).geometry
        labels = rasterize(shapes, bands.shape[1:], transform=scene.window_transform(window))
    return (bands - 110) / 47, torch.from_numpy(labels).long()


def mean_iou(probabilities: Tensor, labels: Tensor) -> float:
    classes = probabilities.argmax(dim=0)
    pairs = [((classes == k) & (labels == k), (classes == k) | (labels == k)) for k in (0, 1)]
    return float(np.mean([float(both.sum() / either.sum()) for both, either in pairs]))


@pytest.mark.slow
def test_the_crf_raises_the_iou_of_a_coarse_network_on_the_sample() -> None:
    torch.manual_seed(0)
    images, labels = read_sample(sample().labelled, Window(0, 0, 2048, 2048))
    network = Coarse().train()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(150):
        corners = torch.randint(2048 - 256, (6, 2)).tolist()
        places = [(slice(y, y + 256), slice(x, x + 256)) for y, x in corners]
        logits = network(torch.stack([images[:, *place] for place in places]))
        loss = F.cross_entropy(logits, torch.stack([labels[place] for place in places]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scene, truth = read_sample(sample().held_out, Window(0, 0, 1024, 1024))
    with torch.inference_mode():
        coarse = network.eval()(scene[None])[0].softmax(dim=0)
    refined = refine(coarse, scene, torch.ones_like(truth, dtype=torch.bool), CRF())
    assert mean_iou(refined, truth) > mean_iou(coarse, truth) + 0.004
