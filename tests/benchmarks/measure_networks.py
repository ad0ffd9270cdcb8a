"""Measure what the catalogue keeps of each network, and write ``satseg/backend/measured.json``.

    python tests/benchmarks/measure_networks.py           # all networks
    python tests/benchmarks/measure_networks.py mynet     # those that are new, or have changed

The receptive field is that of ``satseg/profiling/reach.py``. A network is exportable if ``torch.export`` gives a
program with the same logits.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from torch import nn

from satseg.backend import create_model, find_architecture, list_architectures
from satseg.backend.catalogue import MEASURED
from satseg.profiling.reach import receptive_field


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
    return {"exportable": is_exportable(model), "receptive_field": receptive_field(model, in_channels=3)}


def is_exportable(model: nn.Module) -> bool:
    """Return whether an exported network gives the same logits for an image of 96 x 96 px, up to rounding."""
    images = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        logits = model.eval()(images)
    try:
        found = torch.export.export(model, (images,)).module()(images)
    except Exception as error:
        print(error, file=sys.stderr)
        return False
    return torch.allclose(found, logits, rtol=1e-3, atol=1e-3 * logits.abs().max().item())


def write(kept: dict[str, object]) -> None:
    """Write one line per network."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(measured)}" for name, measured in kept.items())
    MEASURED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
