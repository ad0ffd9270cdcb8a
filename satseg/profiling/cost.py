"""Time and memory of a network on this machine, measured in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model, is_custom_file, recorded_name, run_custom_file, with_crop
from satseg.backend.conv_gradients import fast_conv_gradients
from satseg.backend.device import autocast, reuse_freed_memory
from satseg.profiling.counts import count_multiply_adds, count_parameters
from satseg.profiling.memory import PeakMemory
from satseg.results import Result

_WARM_UP = 2
_FEWEST = 3
_PATIENCE = 10.0  # seconds after which no further run is timed if there are as many
_LIMIT = 30.0  # seconds after which none is timed in any case


@dataclass(frozen=True, repr=False)
class Workload(Result):
    """Images and device of a measurement.

    Args:
        size: Rows and columns of the images.
        batch_size: Images per batch.
        in_channels: Bands of the images.
        num_classes: Classes of the logits.
        device: Device, as torch names it.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        threads: Processor threads.
        repeats: Maximum number of timed runs.
    """

    size: int = 512
    batch_size: int = 1
    in_channels: int = 3
    num_classes: int = 19
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1
    repeats: int = 10


@dataclass(frozen=True, repr=False)
class Cost(Result):
    """Cost of a network; None is what has not been measured.

    Args:
        arch: Network.
        parameters: Learnable parameters, without parts that only training needs.
        multiply_adds: Multiply-adds of one image.
        inference_ms: Median time of a forward pass over a batch, in milliseconds.
        inference_bytes: Its peak memory: weights and activations.
        training_ms: Median time of a training step on a batch, in milliseconds.
        training_bytes: Its peak memory, including gradients and optimiser state.
        out_of_memory: What memory did not suffice for: ``inference`` or ``training``.
    """

    arch: str
    parameters: int
    multiply_adds: int
    inference_ms: float | None = None
    inference_bytes: int | None = None
    training_ms: float | None = None
    training_bytes: int | None = None
    out_of_memory: str | None = None


def measure_cost(arch: str, workload: Workload) -> Iterator[Cost]:
    """Measure a network, in a new process: memory is only correct if the process has done nothing before.

    A training step is a forward pass, cross-entropy with the auxiliary loss of the network, a backward pass and AdamW.

    Args:
        arch: Name of a network, or ``path/to/file.py:function``.
        workload: Images and device.

    Yields:
        What is known so far: counts, then the cost of inference, too, then that of training, too.

    Raises:
        ArchitectureError: The network does not exist.
    """
    torch.set_num_threads(workload.threads)
    builder = run_custom_file(arch) if is_custom_file(arch) else arch
    counts = {"in_channels": workload.in_channels, "num_classes": workload.num_classes}
    create = partial(create_model, builder, **with_crop(builder, counts, workload.size))
    with torch.device("meta"):
        plan = create()
    multiply_adds = count_multiply_adds(
        plan, in_channels=workload.in_channels, height=workload.size, width=workload.size
    )
    cost = Cost(recorded_name(arch), count_parameters(plan), multiply_adds)
    yield cost
    memory = PeakMemory(torch.device(workload.device))
    model = create().to(workload.device).to(memory_format=torch.channels_last)
    images = torch.rand(workload.batch_size, workload.in_channels, workload.size, workload.size).to(workload.device)
    images = images.contiguous(memory_format=torch.channels_last)
    inference = _median_ms(_inference(model.eval(), images, workload.precision), workload)
    cost = replace(cost, inference_ms=inference, inference_bytes=memory.peak())
    yield cost
    reuse_freed_memory()  # as training does
    training = _median_ms(_training(model.train(), images, workload), workload)
    yield replace(cost, training_ms=training, training_bytes=memory.peak())


def _inference(model: nn.Module, images: Tensor, precision: str) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        with autocast(images.device, precision):
            model(images)

    return run


def _training(model: nn.Module, images: Tensor, workload: Workload) -> Callable[[], None]:
    targets = torch.randint(workload.num_classes, (len(images), *images.shape[-2:]), device=images.device)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler(images.device.type, enabled=workload.precision == "16-mixed")

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, workload.precision), fast_conv_gradients(images.device):
            loss = _loss(model, images, targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return run


def _loss(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    forward_with_aux: Callable[..., tuple[Tensor, dict[str, Tensor]]] | None = getattr(model, "forward_with_aux", None)
    if forward_with_aux is None:
        return F.cross_entropy(model(images), targets)
    logits, outputs = forward_with_aux(images)
    auxiliary: Tensor = model.aux_loss(outputs, targets)  # type: ignore[operator]
    return F.cross_entropy(logits, targets) + auxiliary


def _median_ms(run: Callable[[], None], workload: Workload) -> float:
    began = time.perf_counter()
    for _ in range(_WARM_UP):
        run()
        _finish(workload.device)
        if time.perf_counter() - began > _PATIENCE:
            break
    taken: list[float] = []
    while len(taken) < workload.repeats and sum(taken) < (_PATIENCE if len(taken) >= _FEWEST else _LIMIT):
        began = time.perf_counter()
        run()
        _finish(workload.device)
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)


def _finish(device: str) -> None:
    """Wait for the device to finish."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
