"""Measure what networks cost for the table of the documentation, and write ``docs/costs.json``.

    python tests/benchmarks/measure_costs.py              # all networks: an hour at most on two cores
    python tests/benchmarks/measure_costs.py mynet        # those that are new, or have changed

What is measured is what `satseg benchmark` measures by default. Take the figures alone on the machine, and all of them
on machines of one kind.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import satseg
from satseg.profiling.cost import Cost

COSTS = Path(__file__).resolve().parents[2] / "docs" / "costs.json"


def row(cost: Cost) -> dict[str, object]:
    """Return what is kept of a network: milliseconds, and MiB beyond what the process held before."""
    return {
        "arch": cost.arch,
        "inference_ms": round(cost.inference_ms or 0, 1),
        "inference_mib": round((cost.inference_bytes or 0) / 2**20),
        "training_ms": round(cost.training_ms or 0, 1),
        "training_mib": round((cost.training_bytes or 0) / 2**20),
    }


def main() -> None:
    """Measure one network after the other; what is known of the others stays, of those that are gone goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [entry.name for entry in satseg.list_architectures()]
    parser.add_argument("names", nargs="*", metavar="NAME", default=known)
    kept = {entry["arch"]: entry for entry in json.loads(COSTS.read_text(encoding="utf-8"))}
    for name in parser.parse_args().names:
        (cost,) = satseg.benchmark(name).costs
        kept[name] = row(cost)
        lines = ",\n".join(json.dumps(kept[name]) for name in known if name in kept)
        COSTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
