"""The devices of a run: how they are launched, and sums over all of them, through which gradients flow."""

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
"""Adds up a tensor over all devices."""


def alone(tensor: Tensor) -> Tensor:
    """Return the sum over one device: the tensor itself."""
    return tensor


class AllSum(torch.autograd.Function):
    """The sum of a tensor over all processes.

    A loss made of such sums is the same number in every process: that of the whole batch. Backward hands each process
    the gradient of that loss times the number of processes, which is what averaging gradients afterwards, as data
    parallel training does, divides by. So the average is the exact gradient of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Return the sum in every process."""
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient for this process's share of the sum."""
        return gradient * torch.distributed.get_world_size()


def total_over(devices: int) -> Total:
    """Return what adds up over ``devices`` processes."""
    if devices == 1:
        return alone
    apply: Total = AllSum.apply
    return apply


def gather(names: Sequence[str]) -> list[str]:
    """Return the names of all processes, in their order; every process has to ask."""
    if not torch.distributed.is_initialized():
        return list(names)
    parts: list[Sequence[str]] = [()] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, list(names))
    return [name for part in parts for name in part]


def process_rank(devices: int = 1, nodes: int = 1) -> int:
    """Return the number of this process among those of a run, from 0, before anything is launched.

    A run on one device has one process, whatever the environment says: several runs that one ``srun`` starts side by
    side have ranks, but none of them is a part of another.

    Args:
        devices: Devices on each node.
        nodes: Machines.

    Raises:
        UsageError: Another number of processes was started than there are devices, or their ranks are no numbers.
    """
    if devices * nodes == 1:
        return 0
    launcher = _find_launcher(devices, nodes)
    if isinstance(launcher, LightningEnvironment):
        return _number("NODE_RANK", _number("GROUP_RANK", 0)) * devices + _number("LOCAL_RANK", 0)
    return _number("SLURM_PROCID" if isinstance(launcher, SLURMEnvironment) else "RANK", 0)


def _find_launcher(devices: int, nodes: int) -> ClusterEnvironment:
    """Return what started the processes of a run on several devices: torchrun, srun, or Fabric, which is to do it.

    Fabric would look for MPI too, whose own start-up has side effects.
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
            "SLURM does not tell how many processes each node has.", hint=f"Give srun --ntasks-per-node {devices}."
        ) from None


def _check_number(variable: str, started: int, devices: int, nodes: int) -> None:
    if started != devices * nodes:
        raise UsageError(
            f"{started} processes were started ({variable}), but --devices {devices} and --nodes {nodes} make "
            f"{devices * nodes}.",
            hint="Start as many as there are devices, or just one: without torchrun, and with SLURM_NTASKS unset, "
            "satseg starts those of a machine itself.",
        )


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable)
    if value is None:
        return default
    if not value.isdecimal():
        raise UsageError(f"The environment variable {variable} is {value!r}, not a number.", hint="Unset it.")
    return int(value)


def make_fabric(device: torch.device, precision: str, *, devices: int = 1, nodes: int = 1) -> Fabric:
    """Return Fabric for the devices of a run; several of them each get a process, and gradients are averaged.

    Args:
        device: Kind of device; its index counts only where there is one.
        precision: As Fabric spells it.
        devices: Devices on each node.
        nodes: Machines.

    Raises:
        UsageError: Several devices of one name were asked for, of a kind that is alone, or more than there are; or
            another number of processes was started.
    """
    for option, value in (("devices", devices), ("nodes", nodes)):
        if value < 1:
            raise UsageError(f"--{option} is {value}; it starts at 1.")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(f"There are no {devices} GPUs here: torch finds {torch.cuda.device_count()}.")
    if devices * nodes > 1 and (device.index is not None or device.type == "mps"):
        raise UsageError(f"{devices * nodes} devices cannot all be {device}.", hint="Use --device cuda or cpu.")
    plugins: list[Any] = [] if precision == "32-true" else [_mixed(device, precision)]
    if devices * nodes == 1:
        # Named, so that Fabric looks for no other, nor stumbles over a cluster's variables.
        one: list[int] | int = [device.index or 0] if device.type == "cuda" else 1
        return Fabric(accelerator=device.type, devices=one, plugins=[*plugins, LightningEnvironment()])
    plugins.append(_find_launcher(devices, nodes))
    return Fabric(accelerator=device.type, devices=devices, num_nodes=nodes, strategy="ddp", plugins=plugins)


def launch(fabric: Fabric) -> None:
    """Start the other processes and meet them, without what Fabric would say and set besides."""
    threads = torch.get_num_threads()
    talk = logging.getLogger("lightning_fabric")
    level = talk.level
    talk.setLevel(logging.WARNING)
    try:
        fabric.launch()
    finally:
        talk.setLevel(level)
        torch.set_num_threads(threads)


def _mixed(device: torch.device, precision: str) -> MixedPrecision:
    """Return mixed precision as an object: by name, Fabric announces it on stderr."""
    scaler = torch.amp.GradScaler(device.type) if precision == "16-mixed" else None
    return MixedPrecision(precision, device.type, scaler)  # type: ignore[arg-type]
