"""Measure what the catalogue keeps of each network, and write ``satseg/backend/measured.json``.

    python tests/benchmarks/measure_networks.py           # all networks
    python tests/benchmarks/measure_networks.py mynet     # those that are new, or have changed

The receptive field is that of ``satseg/profiling/reach.py``. A network is exportable if ``satseg export`` writes it as
ONNX, which checks that the file gives the same probabilities; else ``hindrance`` is what it says.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from satseg.backend import create_model, find_architecture, list_architectures
from satseg.backend.catalogue import MEASURED
from satseg.errors import SatsegError, one_line
from satseg.profiling.reach import receptive_field
from satseg.workflows.export import export

sys.path.append(str(Path(__file__).resolve().parents[1]))
from exported_networks import untrained_checkpoint


def main() -> None:
    """Measure one network after the other; what is known of the others stays, of those that are gone goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    known = [entry.name for entry in list_architectures()]
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    for name in [find_architecture(name).name for name in parser.parse_args().names] or known:
        kept[name] = measure(name)
        print(name, kept[name], file=sys.stderr)
        write({name: kept[name] for name in known if name in kept})


def measure(arch: str) -> dict[str, object]:
    """Return what is kept of a network."""
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=2)
    hindrance = hindrance_of(arch)
    found: dict[str, object] = {
        "exportable": hindrance is None,
        "receptive_field": receptive_field(model, in_channels=3),
    }
    return found if hindrance is None else found | {"hindrance": hindrance}


def hindrance_of(arch: str) -> str | None:
    """Return why ``satseg export`` writes no ONNX file of a network; None where it does."""
    with TemporaryDirectory() as folder, chdir(folder):  # messages then name no folder
        try:
            export(untrained_checkpoint(Path(), arch), output="net.onnx")
        except SatsegError as error:
            return one_line(error).removeprefix("net.onnx is not written: ")
    return None


def write(kept: dict[str, object]) -> None:
    """Write one line per network."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(measured)}" for name, measured in kept.items())
    MEASURED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
