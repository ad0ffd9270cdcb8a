"""Peak memory since a moment."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from satseg.backend.memory import peak_memory


class PeakMemory:
    """Peak memory since this object was made.

    On a CUDA GPU it is what torch had allocated there. Elsewhere it is the resident memory of this process beyond
    what it held before, as the kernel keeps it: that includes the buffers of libraries, and only a process that has
    not held more before can be trusted.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.zeros(1, device=device)  # there are no statistics before the first tensor
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _load_kernels()
        self._before = self._held()

    def peak(self) -> int:
        """Return bytes."""
        return max(self._held() - self._before, 0)

    def _held(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return peak_memory()


def _load_kernels() -> None:
    """Run a small convolution forth and back, so that the code of torch's libraries is in memory already."""
    weight = torch.zeros(8, 8, 3, 3, requires_grad=True)
    F.conv2d(torch.zeros(1, 8, 32, 32), weight, padding=1).sum().backward()
