from __future__ import annotations

import subprocess
import sys

from satseg.records import as_json
from satseg.workflows.models import models


def test_networks_are_listed_by_name_and_go_into_json() -> None:
    listed = as_json(models())
    names = [entry["name"] for entry in listed]
    assert names == sorted(names)
    erfnet = next(entry for entry in listed if entry["name"] == "erfnet")
    assert (erfnet["title"], erfnet["parameters"], erfnet["output_stride"]) == ("ERFNet", 2_064_191, 8)


def test_listing_imports_nothing_heavy() -> None:
    code = "import sys; from satseg.workflows.models import models; models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
