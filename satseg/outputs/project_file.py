"""Check whether a QGIS project can be replaced: satseg wrote it, and nobody has saved it since."""

from __future__ import annotations

from pathlib import Path

from satseg.errors import OutputError

PROJECT = ".qgs"
"""Suffix of a QGIS project."""

PROJECT_MARK = "<!-- satseg replaces this project with its maps; one that is saved by QGIS stays. -->"
"""Stands at the beginning of projects that satseg writes; QGIS leaves it out when it saves one."""

_HEAD = 1024  # bytes in which it stands


def check_project(path: Path) -> None:
    """Refuse to replace a project that satseg did not write, or that QGIS has saved since.

    Args:
        path: The file; it need not exist.

    Raises:
        OutputError: It holds work of somebody else, which would be lost.
    """
    try:
        with path.open("rb") as file:
            own = PROJECT_MARK.encode() in file.read(_HEAD)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"Cannot read {path}: {error.strerror}.") from error
    if not own:
        raise OutputError(
            f"The project {path} was saved by QGIS or another program, and what was done there would be lost.",
            hint="Name another project, or delete that one.",
        )
