from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def test_json_is_the_workload_and_a_cost_per_network(satseg: Callable, tmp_path: Path) -> None:
    net = "from torch import nn\ndef net(*, in_channels, num_classes): return nn.Conv2d(in_channels, num_classes, 1)\n"
    (tmp_path / "net.py").write_text(net)
    done = satseg(
        "benchmark", "--arch", f"{tmp_path / 'net.py'}:net", "--size", 64, "--repeats", 1, "--threads", 1, "--json"
    )
    found = json.loads(done.stdout)
    assert done.code == 0
    assert (found["workload"]["size"], found["workload"]["threads"]) == (64, 1)
    assert [cost["multiply_adds"] for cost in found["costs"]] == [3 * 19 * 64 * 64]


def test_a_wrong_name_is_wrong_usage_with_the_nearest(satseg: Callable) -> None:
    done = satseg("benchmark", "--arch", "erfnet", "--arch", "unett")
    assert done.code == 2
    assert "Did you mean unet" in done.stderr
