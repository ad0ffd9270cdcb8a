from __future__ import annotations

import os

import pytest
import torch

from satseg.errors import UsageError
from satseg.training.devices import gather, make_fabric, process_rank, total_over


@pytest.mark.parametrize("name", ["cuda:1", "mps"])
def test_several_devices_cannot_be_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(UsageError, match=f"2 processes cannot share the device {name}"):
        make_fabric(torch.device(name), "32-true", devices=2)


def test_more_gpus_than_there_are_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="exceeds the 1 GPUs that torch finds"):
        make_fabric(torch.device("cuda"), "32-true", devices=4)


ELASTIC = {"TORCHELASTIC_RUN_ID": "one"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without anything that launchers set."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name.endswith("RANK") or name == "WORLD_SIZE":
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "1", "WORLD_SIZE": "4"}, 3),
        ({"NODE_RANK": "1"}, 2),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", **ELASTIC}, 3),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}, 3),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "RANK": "0"}, 1),
    ],
)
def test_a_process_knows_its_number_from_what_started_it(
    variables: dict[str, str], rank: int, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert process_rank(devices=2, nodes=2) == rank


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1"},
        {"LOCAL_RANK": "1"},
        {"SLURM_PROCID": "2", "SLURM_NTASKS": "4"},
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **ELASTIC},
        {"RANK": "no number", "LOCAL_RANK": "", "SLURM_NTASKS": "many"},
    ],
)
def test_a_run_on_one_device_is_whole_whatever_ranks_the_environment_tells(
    variables: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    fabric = make_fabric(torch.device("cpu"), "32-true")
    assert process_rank() == 0
    assert (fabric.global_rank, fabric.world_size, fabric.is_global_zero) == (0, 1, True)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4", **ELASTIC}, r"4 processes were started \(WORLD_SIZE\), but `devices=2` and"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "3"}, r"3 processes were started \(WORLD_SIZE\)"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8"}, r"8 processes were started \(SLURM_NTASKS\)"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, "SLURM does not say how many processes run on each node"),
        ({"LOCAL_RANK": "first"}, "LOCAL_RANK is 'first', not a number"),
    ],
)
def test_another_number_of_processes_than_of_devices_is_wrong_usage(
    variables: dict[str, str], said: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(UsageError, match=said):
        process_rank(devices=2)
    if "LOCAL_RANK" not in variables or "WORLD_SIZE" in variables:
        with pytest.raises(UsageError, match=said):
            make_fabric(torch.device("cpu"), "32-true", devices=2)


@pytest.mark.parametrize("count", [{"devices": 0}, {"nodes": -1}])
def test_less_than_one_device_is_wrong_usage(count: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is too small"):
        make_fabric(torch.device("cpu"), "32-true", **count)


def test_the_sum_over_one_device_is_the_tensor_itself() -> None:
    tensor = torch.ones(3)
    assert total_over(1)(tensor) is tensor


def test_the_names_of_one_process_are_its_own() -> None:
    assert gather(("tile-1", "tile-2")) == ["tile-1", "tile-2"]
