"""Every network can learn: it overfits one fixed batch of four tiles of the sample."""

from __future__ import annotations

import math
from collections.abc import Iterator

import geopandas
import pytest
import rasterio
import torch
import torch.nn.functional as F
from rasterio.features import rasterize
from rasterio.windows import Window
from torch import Tensor, nn

from satseg.backend import create_model, list_architectures, with_crop
from satseg.sample import sample

SIDE = 128
CORNERS = ((256, 256), (256, 1280), (1280, 512), (1792, 1536))  # row and column; half of these pixels are buildings

# Learning rate of AdamW, and updates within which it must be done; it stops as soon as it is.
DEFAULT = (1e-3, 150)
RECIPES = {
    "ann": (3e-4, 12),
    "autodeeplab": (1e-3, 60),
    "bfp": (3e-4, 12),
    "bisenet": (1e-3, 14),
    "caa": (3e-4, 30),
    "ccnet": (3e-4, 12),
    "cpn": (3e-4, 18),
    "danet": (3e-4, 10),
    "ddrnet23": (3e-4, 21),
    "ddrnet23slim": (1e-3, 20),
    "ddrnet39": (3e-4, 26),
    "deconvnet": (3e-4, 15),
    "deeplabv1": (1e-4, 42),
    "deeplabv2": (3e-4, 10),
    "deeplabv3": (3e-4, 15),
    "deeplabv3plus": (3e-4, 14),
    "denseaspp": (3e-4, 10),
    "dfanet": (3e-3, 100),
    "dpt": (3e-4, 60),
    "efficientps": (1e-3, 10),
    "enet": (5e-3, 70),
    "erfnet": (2e-3, 95),
    "esanet": (1e-3, 40),
    "esnet": (3e-3, 60),
    "espnet": (1e-2, 40),
    "espnetv2": (5e-3, 35),
    "fasterseg": (1e-3, 18),
    "fcn16s": (1e-4, 140),
    "fcn32s": (1e-4, 50),
    "fcn8s": (3e-5, 120),
    "fpn": (3e-4, 40),
    "hanet": (3e-4, 20),
    "hmsa": (3e-4, 25),
    "hrnet": (3e-4, 10),
    "icnet": (1e-3, 24),
    "linknet": (1e-3, 60),
    "manet": (3e-4, 40),
    "ocnet": (3e-4, 12),
    "ocrnet": (3e-4, 23),
    "pan": (1e-3, 60),
    "pointrend": (3e-4, 40),
    "psanet": (3e-4, 12),
    "pspnet": (3e-4, 18),
    "refinenet": (5e-5, 100),
    "resnest": (3e-4, 13),
    "segformer": (3e-4, 80),
    "segnet": (3e-4, 30),
    "unet": (3e-4, 21),
    "unetplusplus": (3e-4, 40),
    "upernet": (3e-4, 40),
    "vplr": (3e-4, 20),
}
QUICK = {"bisenet", "ddrnet23slim", "espnet", "fasterseg", "icnet"}  # the others are slow
# Dropout of half the features keeps the old networks from learning four tiles by heart, as it is meant to.
OPTIONS = {arch: {"dropout": 0.0} for arch in ("deeplabv1", "fcn16s", "fcn32s", "fcn8s")}
# Sixteen logits a tile, interpolated, cannot draw these outlines to a quarter: what they can is asked for instead.
COARSE = {"fcn32s": 32}
CASES = [
    pytest.param(
        entry.name,
        *RECIPES.get(entry.name, DEFAULT),
        id=entry.name,
        marks=() if entry.name in QUICK else pytest.mark.slow,
    )
    for entry in list_architectures()
]


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    """Four tiles, standardised (4, 3, 128, 128), and their labels (4, 128, 128): 1 is a building."""
    images, labels = [], []
    with rasterio.open(sample().labelled) as scene:
        footprints = geopandas.read_file(sample().labels).to_crs(scene.crs).geometry
        for row, column in CORNERS:
            window = Window(column, row, SIDE, SIDE)
            images.append(torch.from_numpy(scene.read((1, 2, 3), window=window)).float())
            burnt = rasterize(footprints, (SIDE, SIDE), transform=scene.window_transform(window))
            labels.append(torch.from_numpy(burnt).long())
    return (torch.stack(images) - 110) / 47, torch.stack(labels)


@pytest.fixture(autouse=True)
def one_thread_for_quick_ones(request: pytest.FixtureRequest) -> Iterator[None]:
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("slow") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of the logits, and what training minimises: with the network's auxiliary loss."""
    if not hasattr(model, "forward_with_aux"):
        loss = F.cross_entropy(model(images), labels)
        return loss, loss
    logits, outputs = model.forward_with_aux(images)
    loss = F.cross_entropy(logits, labels)
    return loss, loss + model.aux_loss(outputs, labels)


def lowest_loss(labels: Tensor, stride: int) -> float:
    """Return the least cross-entropy that logits at a stride can have, interpolated to the labels: a convex problem."""
    sides = [side // stride for side in labels.shape[-2:]]
    logits = torch.zeros(len(labels), 2, *sides, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.interpolate(logits, labels.shape[-2:], mode="bilinear"), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


@pytest.mark.parametrize(("arch", "lr", "updates"), CASES)
def test_network_overfits_one_batch(arch: str, lr: float, updates: int, batch: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    options = with_crop(arch, OPTIONS.get(arch, {}), SIDE)
    model = create_model(arch, in_channels=3, num_classes=2, **options).train()
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    floor = lowest_loss(batch[1], COARSE[arch]) if arch in COARSE else 0.0
    found: list[float] = []
    for _ in range(updates + 1):
        loss, total = losses(model, *batch)
        found.append(loss.item())
        # A quarter of the initial loss, or of that of even odds, where fresh logits are large and the loss with them.
        if found[-1] <= max(min(found[0], math.log(2)) / 4, 1.05 * floor):
            return
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    pytest.fail(f"{arch} got from {found[0]:.3f} to {min(found):.3f} in {updates} updates")


def test_recipes_are_those_of_networks_that_exist() -> None:
    assert RECIPES.keys() | QUICK | OPTIONS.keys() | COARSE.keys() <= {entry.name for entry in list_architectures()}
