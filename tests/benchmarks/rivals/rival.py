"""What the rivals of the league share: their arguments, the weights they start with, and what they say in the end."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def read_arguments() -> argparse.Namespace:
    """Read the arguments that `league.py` passes, and take as many threads as they name."""
    parser = argparse.ArgumentParser()
    for name in ("scene", "labels", "held-out", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--encoder-weights", type=Path, help="safetensors with timm's names; default: none")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def load_encoder(encoder: torch.nn.Module, weights: Path) -> None:
    """Load the weights of an encoder of timm, all of which have to be there."""
    found = {f"model.{name}": tensor for name, tensor in load_file(weights).items()}
    lacking = [name for name in encoder.load_state_dict(found, strict=False).missing_keys if "num_batches" not in name]
    if lacking:
        sys.exit(f"{weights} lacks {len(lacking)} tensors of the encoder, such as {lacking[0]}.")


def report(**outcome: object) -> None:
    """Print the line that `league.py` reads."""
    print(json.dumps(outcome), flush=True)
