"""The tables of the README, made from the code. Run this file (``make readme``) to bring the README up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import typer

from satseg import list_architectures
from satseg.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results.json"


def command_rows() -> list[str]:
    """One row per command: its name and the first line of its help."""
    commands = typer.main.get_command(app).commands
    return [f"| `satseg {name}` | {command.help.splitlines()[0]} |" for name, command in commands.items()]


def network_rows() -> list[str]:
    """One row per network: what ``satseg models`` knows of it."""
    return [
        f"| `{entry.name}` | {entry.title} | {entry.year} | {entry.parameters:,} | {entry.multiply_adds / 1e9:.1f} G "
        f"| {entry.output_stride} | {entry.encoder} | {entry.use} |"
        for entry in list_architectures()
    ]


def result_rows() -> list[str]:
    """One row per network that ``tests/benchmarks/train_networks.py`` has trained, best first."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    return [
        f"| `{row['arch']}` | {row['mean_iou']:.3f} | {' / '.join(f'{iou:.3f}' for iou in row['iou'].values())} "
        f"| {row['steps']:,} | {row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.1f} G "
        f"| {row['inference_ms']:.1f} ms | {row['training_ms']:.0f} ms |"
        for row in sorted(results, key=lambda row: -row["mean_iou"])
    ]


def with_rows(text: str, heading: str, rows: list[str]) -> str:
    """Replace the rows of the table below a heading."""
    pattern = rf"(\n## {heading}\n.*?\n\|[-|]+\|\n)(?:\|[^\n]*\n)*"
    return re.sub(pattern, lambda found: found[1] + "".join(f"{row}\n" for row in rows), text, count=1, flags=re.DOTALL)


def up_to_date(text: str) -> str:
    """Return a README whose tables are those of the code."""
    for heading, rows in (("Commands", command_rows()), ("Networks", network_rows()), ("Results", result_rows())):
        text = with_rows(text, heading, rows)
    return text


if __name__ == "__main__":
    README.write_text(up_to_date(README.read_text(encoding="utf-8")), encoding="utf-8")
