from __future__ import annotations

import torch

from satseg.inference.live_memory import LiveMemory, peak_live_memory

KIB = 1024


def block() -> torch.Tensor:
    return torch.zeros(KIB, dtype=torch.uint8)


def test_what_is_alive_at_once_counts() -> None:
    def compute() -> torch.Tensor:
        first, second = block(), block()
        both = first + second
        del first, second
        return both + 1

    assert peak_live_memory(compute) == 3 * KIB


def test_views_and_results_in_place_take_no_memory() -> None:
    assert peak_live_memory(lambda: block().view(32, 32).t().add_(1)[3:]) == KIB


def test_what_was_there_before_does_not_count() -> None:
    before = block()
    assert peak_live_memory(lambda: before.add_(1)) == 0


def test_what_is_freed_is_forgotten() -> None:
    with LiveMemory() as live:
        kept = block()
        block()
    assert live.now == kept.nbytes
