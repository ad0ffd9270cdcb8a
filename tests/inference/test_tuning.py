"""Settings are tried and chosen; time is made up, so that machines and what else they do have no say."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import SatsegError
from satseg.inference import tuning
from satseg.inference.network import Network
from satseg.inference.tuning import Tuning, tune
from satseg.records import BandStatistics

MEGA = 1e6


class Clock(threading.local):
    """What has passed in a thread, in seconds: threads run side by side."""

    now = 0.0


CLOCK = Clock()


class Paced(nn.Module):
    """Takes as long as it is told to, in whatever thread, and lacks memory for windows above a size."""

    def __init__(self, speeds: dict[int, float], *, per_pass: float = 0.0, largest: int = 10_000) -> None:
        super().__init__()
        self.speeds = speeds
        self.per_pass = per_pass
        self.largest = largest
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        side = images.shape[-1]
        if side > self.largest:
            raise torch.OutOfMemoryError("not here")
        CLOCK.now += self.per_pass + images[:, 0].numel() / self.speeds.get(side, 20 * MEGA)
        return images.new_zeros(len(images), 2, *images.shape[-2:])


@pytest.fixture(autouse=True)
def _made_up_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "time", SimpleNamespace(perf_counter=lambda: CLOCK.now))


def network(model: nn.Module) -> Network:
    identity = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    classes = ClassTable.from_names(["a", "b"])
    return Network(model, classes=classes, statistics=identity, device=torch.device("cpu"))


def tuned(model: nn.Module, **options: object) -> Tuning:
    arguments: dict[str, object] = {"dtype": "uint8", "overlap": lambda window: window // 8, "batch_size": 1}
    return tune(network(model), **{**arguments, **options})


def test_the_fastest_window_is_taken() -> None:
    found = tuned(Paced({256: 8 * MEGA, 384: 12 * MEGA, 512: 18 * MEGA, 768: 10 * MEGA}))
    assert found.window == 512
    assert [trial.window for trial in found.tried] == [256, 384, 512, 768]  # and stops where it gets slower
    assert found.pixels_per_second == max(trial.pixels_per_second for trial in found.tried)


def test_pixels_that_are_forwarded_twice_count_once() -> None:
    found = tuned(Paced({}), overlap=lambda window: 200)
    assert found.window == 1024
    assert found.pixels_per_second == pytest.approx(20 * MEGA * (1 - 200 / 1024) ** 2)


def test_streams_side_by_side_are_taken_where_they_finish_more() -> None:
    found = tuned(Paced({}), window=256, cores=2)
    assert (found.streams, found.threads) == (2, 1)
    assert [(trial.streams, trial.threads) for trial in found.tried] == [(2, 1), (1, 2)]


def test_batches_are_taken_where_a_pass_costs_by_itself() -> None:
    found = tuned(Paced({}, per_pass=0.05), window=64, batch_size=None)
    assert found.batch_size >= 16


def test_fixed_values_are_kept() -> None:
    model = Paced({})
    found = tuned(model, window=96, batch_size=3)
    assert (found.window, found.batch_size, len(found.tried)) == (96, 3, 1)
    assert len(model.shapes) > 1
    assert set(model.shapes[1:]) == {(3, 1, 96, 96)}  # the first one tells the memory


def test_no_trial_is_begun_that_would_end_too_late() -> None:
    """Windows of 384 px are expected to take 0.35 s, those of 512 px 0.52 s."""
    found = tuned(Paced(dict.fromkeys(tuning.WINDOWS, MEGA)), seconds=0.4)
    assert [trial.window for trial in found.tried] == [256, 384]


def test_a_slow_first_pass_takes_no_time_from_the_trials() -> None:
    class Starting(Paced):
        def forward(self, images: Tensor) -> Tensor:
            CLOCK.now += 0 if self.shapes else 60
            return super().forward(images)

    assert len(tuned(Starting({}), seconds=2.0).tried) > 1


def test_a_gpu_has_one_stream_where_memory_does_not_suffice_for_two() -> None:
    assert tuning.streams_and_threads(torch.device("cuda"), 4) == [(2, 2), (1, 4)]


def test_no_time_means_the_first_trial_only() -> None:
    assert len(tuned(Paced({}), seconds=0.0).tried) == 1


def test_windows_need_not_be_larger_than_the_scene() -> None:
    assert {trial.window for trial in tuned(Paced({}), largest=400).tried} == {256, 384}
    assert tuned(Paced({}), largest=100).window == 100


def test_a_window_that_lacks_memory_is_passed_over() -> None:
    found = tuned(Paced({256: 4 * MEGA}, largest=400))
    assert found.window == 384
    assert found.tried[-1].pixels_per_second == 0


def test_smaller_windows_are_tried_where_the_usual_ones_lack_memory() -> None:
    model = Paced({})
    one_pixel = tuned(model, window=256).memory / 256**2
    assert tuned(model, memory=round(one_pixel * 128**2)).window == 128


def test_memory_is_shared_by_all_streams() -> None:
    limit = tuned(Paced({}), window=256).memory
    found = tuned(Paced({}), window=256, cores=4, memory=limit)
    assert (found.streams, found.threads) == (1, 4)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_too_little_memory_is_said_with_numbers(batch_size: int) -> None:
    with pytest.raises(SatsegError, match=rf"32 px and a batch of {batch_size} need about .* MB, and 0 MB are allowed"):
        tuned(Paced({}), memory=1, batch_size=batch_size)


def test_a_fixed_window_that_lacks_memory_is_not_replaced() -> None:
    with pytest.raises(SatsegError, match="a window of 512 px") as caught:
        tuned(Paced({}, largest=400), window=512)
    assert "`window`" in caught.value.hint


def test_scenes_of_other_pixels_are_tried_as_the_network_sees_them() -> None:
    model = Paced({})
    halved = network(model).resampled(0.5, 1.0)
    tune(halved, dtype="uint16", overlap=lambda window: 0, window=256, batch_size=1)
    assert set(model.shapes) == {(1, 1, 256, 256)}


def test_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    tuned(Paced({}), window=64, cores=4)
    assert torch.get_num_threads() == before
