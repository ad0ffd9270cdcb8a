"""A plain training loop around segmentation-models-pytorch, as a competent user writes it in an afternoon.

U-Net on the encoder that satseg takes by default; random crops and flips of all of the scene, AdamW, cross-entropy and
Dice, a cosine schedule over the given minutes, the weights of the last step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from time import perf_counter

import geopandas
import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from rasterio.features import rasterize
from rival import load_encoder, read_arguments, report
from torch import Tensor
from torch.nn.functional import cross_entropy

ENCODER = "tu-tf_efficientnet_lite0"
CROP, BATCH, LR = 256, 8, 1e-3
WINDOW, MARGIN = 512, 64  # of the map


def read_scene(path: str) -> Tensor:
    """Read a scene of three bands of uint8, normalised as the encoder expects."""
    with rasterio.open(path) as source:
        image = torch.from_numpy(source.read()).float() / 255
    wanted = smp.encoders.get_preprocessing_params(ENCODER)
    mean, std = (torch.tensor(wanted[name]).view(-1, 1, 1) for name in ("mean", "std"))
    return (image - mean) / std


def read_labels(path: str, scene: str) -> Tensor:
    """Draw the footprints on the grid of a scene."""
    with rasterio.open(scene) as source:
        shapes = geopandas.read_file(path).to_crs(source.crs).geometry
        return torch.from_numpy(rasterize(shapes, source.shape, transform=source.transform, dtype="uint8")).long()


def batches(image: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random crops, half of them flipped each way, without end."""
    while True:
        crops = []
        for _ in range(BATCH):
            top, left = (random.randrange(size - CROP + 1) for size in labels.shape)
            flips = [axis for axis in (-2, -1) if random.random() < 0.5]
            part = np.s_[..., top : top + CROP, left : left + CROP]
            crops.append((image[part].flip(flips), labels[part].flip(flips)))
        images, targets = zip(*crops, strict=True)
        yield torch.stack(images), torch.stack(targets)


def train(model: torch.nn.Module, image: Tensor, labels: Tensor, seconds: float) -> tuple[int, float]:
    """Train until the time is over; return the steps and the seconds they took."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    dice = smp.losses.DiceLoss("multiclass")
    model.train()
    begun = perf_counter()
    for steps, (images, targets) in enumerate(batches(image, labels)):
        done = (perf_counter() - begun) / seconds
        if done >= 1:
            return steps, perf_counter() - begun
        optimizer.param_groups[0]["lr"] = LR * (1 + math.cos(math.pi * done)) / 2
        logits = model(images)
        loss = cross_entropy(logits, targets) + dice(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError  # there is no last batch


@torch.inference_mode()
def predict(model: torch.nn.Module, image: Tensor) -> np.ndarray:
    """Map a scene in windows that see some ground around them."""
    model.eval()
    height, width = image.shape[-2:]
    inner = WINDOW - 2 * MARGIN
    padded = torch.nn.functional.pad(
        image[None], (MARGIN, MARGIN + -width % inner, MARGIN, MARGIN + -height % inner), mode="reflect"
    )
    classes = np.zeros((height + -height % inner, width + -width % inner), np.uint8)
    for top in range(0, height, inner):
        for left in range(0, width, inner):
            logits = model(padded[..., top : top + WINDOW, left : left + WINDOW])
            core = logits[0, :, MARGIN:-MARGIN, MARGIN:-MARGIN].argmax(0)
            classes[top : top + inner, left : left + inner] = core.numpy()
    return classes[:height, :width]


def main() -> None:
    arguments = read_arguments()
    torch.manual_seed(arguments.seed)
    random.seed(arguments.seed)
    model = smp.Unet(ENCODER, encoder_weights=None, in_channels=3, classes=2)
    if arguments.encoder_weights:
        load_encoder(model.encoder, arguments.encoder_weights)
    image, labels = read_scene(arguments.scene), read_labels(arguments.labels, arguments.scene)
    steps, seconds = train(model, image, labels, 60 * arguments.minutes)
    classes = predict(model, read_scene(arguments.held_out))
    with rasterio.open(arguments.held_out) as source:
        grid = {"crs": source.crs, "transform": source.transform, "height": source.height, "width": source.width}
    with rasterio.open(arguments.output, "w", driver="GTiff", count=1, dtype="uint8", **grid) as target:
        target.write(classes, 1)
    report(training_seconds=seconds, steps=steps, version=f"segmentation-models-pytorch {smp.__version__}")


if __name__ == "__main__":
    main()
