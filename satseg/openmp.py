"""How the processor threads of torch wait for one another, which has to be settled before torch is loaded."""

from __future__ import annotations

import os
import sys

# Pauses, as the OpenMP of GNU (torch on Linux) counts; milliseconds, as that of LLVM and Intel does (macOS, Windows).
_BRIEFLY = {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}


def wait_briefly() -> bool:
    """Let threads that wait for one another spin for about a tenth of a millisecond, and then sleep.

    Threads meet at the end of every layer. By default they spin for 8 ms and more, and keep a core from the very thread
    they wait for wherever more threads than cores are at work. Measured, ERFNet on two cores beside one and beside four
    busy processes of other sessions: 13 and 19 s per step by default, 2.0 and 6.4 s so, alone 0.9 s either way;
    sleeping at once takes 9 % longer alone. Processes that this one starts inherit it.

    Does nothing where torch is loaded already, since it reads the variables once, or where any of them is set.

    Returns:
        Whether it took effect.
    """
    if "torch" in sys.modules or any(name in os.environ for name in ("OMP_WAIT_POLICY", *_BRIEFLY)):
        return False
    os.environ.update(_BRIEFLY)
    return True
