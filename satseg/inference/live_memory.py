"""Count the memory that a computation needs from its tensors, independently of system, library and device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from satseg.backend.memory import resident_memory


class LiveMemory(TorchDispatchMode):
    """Follow the tensors that are made while this context lasts, in the thread that entered it.

    Attributes:
        now: Bytes of those that are alive.
        peak: The most bytes that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: weakref.WeakKeyDictionary[torch.UntypedStorage, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and count the storages that it made."""
        for storage in _storages((args, kwargs)):
            self._known.setdefault(storage, 0)  # made before, unless it was counted
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage not in self._known:  # as that of a view, or of a result in place
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        size = self._known[storage] = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    """Yield the storages of all tensors in nested arguments or results of an operator."""
    if isinstance(tree, Tensor):
        yield tree.untyped_storage()
    elif isinstance(tree, Mapping):
        yield from _storages(list(tree.values()))
    elif isinstance(tree, list | tuple):
        for branch in tree:
            yield from _storages(branch)


def peak_live_memory(compute: Callable[[], object]) -> int:
    """Return the most bytes of tensors that were alive at once while something was computed."""
    with LiveMemory() as live:
        compute()
    return live.peak


def resident_growth(compute: Callable[[], object]) -> int:
    """Return by how many bytes this process grew while something was computed for the first time.

    That is what a library takes that keeps its memory, and that torch does not see.
    """
    before = resident_memory()
    compute()
    return max(0, resident_memory() - before)
