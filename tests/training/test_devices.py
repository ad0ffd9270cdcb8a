from __future__ import annotations

import pytest
import torch

from satseg.errors import UsageError
from satseg.training.devices import gather, make_fabric, process_rank, total_over


@pytest.mark.parametrize("name", ["cuda:1", "mps"])
def test_several_devices_cannot_be_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(UsageError, match=f"2 devices cannot all be {name}"):
        make_fabric(torch.device(name), "32-true", devices=2)


def test_more_gpus_than_there_are_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="no 4 GPUs here: torch finds 1"):
        make_fabric(torch.device("cuda"), "32-true", devices=4)


@pytest.mark.parametrize(
    ("environment", "rank"),
    [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"RANK": "9", "LOCAL_RANK": "1"}, 9), ({"SLURM_PROCID": "3"}, 3)],
)
def test_a_process_knows_its_number_from_its_launcher(
    environment: dict[str, str], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == rank


def test_the_sum_over_one_device_is_the_tensor_itself() -> None:
    tensor = torch.ones(3)
    assert total_over(1)(tensor) is tensor


def test_the_names_of_one_process_are_its_own() -> None:
    assert gather(("tile-1", "tile-2")) == ["tile-1", "tile-2"]
