"""Devices of a run: launch one process per device, and sum tensors over them with gradients."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor

from satseg.errors import UsageError

Total = Callable[[Tensor], Tensor]
"""Sums a tensor over all devices."""


def single_device(tensor: Tensor) -> Tensor:
    """Return the sum over a single device, which is the tensor itself."""
    return tensor


class AllSum(torch.autograd.Function):
    """Differentiable sum of a tensor over all processes.

    A loss built from such sums has the same value in every process: the loss of the whole batch. The backward pass
    multiplies gradients by the number of processes, because data parallel training averages them afterwards; the
    average is then the exact gradient of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Return the sum in every process."""
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of this process's tensor."""
        return gradient * torch.distributed.get_world_size()


def total_over(devices: int) -> Total:
    """Return a function that sums over ``devices`` processes."""
    if devices == 1:
        return single_device
    apply: Total = AllSum.apply
    return apply


def gather(names: Sequence[str]) -> list[str]:
    """Gather names from all processes, in rank order; every process has to call it."""
    if not torch.distributed.is_initialized():
        return list(names)
    parts: list[Sequence[str]] = [()] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, list(names))
    return [name for part in parts for name in part]


def process_rank(devices: int = 1, nodes: int = 1) -> int:
    """Return the rank of this process in a run, before anything is launched.

    A run on a single device always has rank 0: independent runs that one ``srun`` starts have ranks, too, but do not
    belong together.

    Args:
        devices: Devices per node.
        nodes: Number of nodes.

    Raises:
        UsageError: The number of started processes is not the number of devices, or a rank is not a number.
    """
    if devices * nodes == 1:
        return 0
    launcher = _find_launcher(devices, nodes)
    if isinstance(launcher, LightningEnvironment):
        return _number("NODE_RANK", _number("GROUP_RANK", 0)) * devices + _number("LOCAL_RANK", 0)
    return _number("SLURM_PROCID" if isinstance(launcher, SLURMEnvironment) else "RANK", 0)


def _find_launcher(devices: int, nodes: int) -> ClusterEnvironment:
    """Return the launcher of a run on several devices: torchrun, srun, or Fabric itself.

    Fabric's own detection also tries MPI, whose start-up has side effects.
    """
    wanted = devices * nodes
    if TorchElasticEnvironment.detect():
        _check_number("WORLD_SIZE", _number("WORLD_SIZE", 1), devices, nodes)
        return TorchElasticEnvironment()
    if "LOCAL_RANK" in os.environ:  # the processes that Fabric starts, or a user by hand
        _check_number("WORLD_SIZE", _number("WORLD_SIZE", wanted), devices, nodes)
        return LightningEnvironment()
    started = _number("SLURM_NTASKS", 1)
    if started == 1 or not SLURMEnvironment.detect():
        return LightningEnvironment()
    _check_number("SLURM_NTASKS", started, devices, nodes)
    try:
        return SLURMEnvironment()
    except RuntimeError:
        raise UsageError(
            "SLURM does not say how many processes run on each node.",
            hint=f"Pass --ntasks-per-node {devices} to srun.",
        ) from None


def _check_number(variable: str, started: int, devices: int, nodes: int) -> None:
    if started != devices * nodes:
        raise UsageError(
            f"{started} processes were started ({variable}), but `devices={devices}` and `nodes={nodes}` need "
            f"{devices * nodes}.",
            hint="Start one process per device; or a single one, without torchrun and with SLURM_NTASKS unset: satseg "
            "then starts the other processes of the node itself.",
        )


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable)
    if value is None:
        return default
    if not value.isdecimal():
        raise UsageError(f"The environment variable {variable} is {value!r}, not a number.", hint="Unset it.")
    return int(value)


def make_fabric(device: torch.device, precision: str, *, devices: int = 1, nodes: int = 1) -> Fabric:
    """Set Fabric up for the devices of a run: one process per device, gradients are averaged.

    Args:
        device: Type of the devices; its index is used for a single device only.
        precision: Precision as Fabric spells it.
        devices: Devices per node.
        nodes: Number of nodes.

    Raises:
        UsageError: The devices are not available, a single device was named for several processes, or the number of
            started processes is not the number of devices.
    """
    for option, value in (("devices", devices), ("nodes", nodes)):
        if value < 1:
            raise UsageError(f"`{option}={value}` is too small.", hint="Its minimum is 1.")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(f"`devices={devices}` exceeds the {torch.cuda.device_count()} GPUs that torch finds.")
    if devices * nodes > 1 and (device.index is not None or device.type == "mps"):
        raise UsageError(
            f"{devices * nodes} processes cannot share the device {device}.",
            hint="Set `device='cuda'` or `device='cpu'`.",
        )
    plugins: list[Any] = [] if precision == "32-true" else [_mixed(device, precision)]
    if devices * nodes == 1:
        # Passed explicitly, so that Fabric detects no other launcher from the variables of a cluster.
        one: list[int] | int = [device.index or 0] if device.type == "cuda" else 1
        return Fabric(accelerator=device.type, devices=one, plugins=[*plugins, LightningEnvironment()])
    plugins.append(_find_launcher(devices, nodes))
    return Fabric(accelerator=device.type, devices=devices, num_nodes=nodes, strategy="ddp", plugins=plugins)


def launch(fabric: Fabric) -> None:
    """Start the other processes and connect to them; keep Fabric from logging and from changing the thread count."""
    threads = torch.get_num_threads()
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        fabric.launch()
    finally:
        logger.setLevel(level)
        torch.set_num_threads(threads)


def _mixed(device: torch.device, precision: str) -> MixedPrecision:
    """Return mixed precision as a plugin object: given by name, Fabric announces it on stderr."""
    scaler = torch.amp.GradScaler(device.type) if precision == "16-mixed" else None
    return MixedPrecision(precision, device.type, scaler)  # type: ignore[arg-type]
