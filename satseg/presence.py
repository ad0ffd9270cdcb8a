"""Say that a file is absent at once: before anything that takes seconds to import is needed for what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from satseg.arguments import file_and_name
from satseg.errors import ArchitectureError, AreaError, CheckpointError, LabelError, SceneError, TileError

HEADER = "tileset.json"
"""File that tells the folder of a tile set."""

INDEX = "index.parquet"
"""File in the folder of a tile set without which it is none."""

_RUN = "settings.json"  # what tells the folder of a run

BEST = "best.safetensors"
"""File in the folder of a training run that stands for it."""

_FEW = 3  # names in a message


def require_scenes(*names: str | Path) -> None:
    """Refuse scenes and maps that are absent.

    Raises:
        SceneError: There are some.
    """
    if missing := absent(names):
        raise SceneError(f"{_listed(missing)} {_verb(missing)} not exist.")


def require_labels(*names: str | Path) -> None:
    """Refuse labels that are absent.

    Raises:
        LabelError: There are some.
    """
    if missing := absent(names):
        raise LabelError(f"Labels {_listed(missing)} do not exist.")


def require_area(name: str | Path) -> None:
    """Refuse an area of interest that is absent.

    Raises:
        AreaError: It is.
    """
    if absent([name]):
        raise AreaError(f"The area of interest {name} does not exist.")


def require_checkpoint(name: str | Path) -> Path:
    """Return the file of a checkpoint, which the folder of its run may stand for.

    Raises:
        CheckpointError: There is none.
    """
    path = Path(name)
    if path.is_dir():
        path = path / BEST
    if not path.is_file():
        state = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"The checkpoint {path} {state}.", hint="Train one: satseg train TILES --arch erfnet")
    return path


def require_custom_network(arch: str | None) -> None:
    """Refuse ``path/to/file.py:function`` whose file is absent; names of networks pass.

    Raises:
        ArchitectureError: It is.
    """
    file, _ = file_and_name(arch or "")
    if file and not Path(file).is_file():
        raise ArchitectureError(f"The file {file} does not exist.")


def require_subject(name: str | Path) -> None:
    """Refuse what is to be scored, and is absent.

    Raises:
        CheckpointError: It is called like a checkpoint, and is.
        SceneError: It is called otherwise, and is.
    """
    if absent([name]) and Path(name).suffix == ".safetensors":
        require_checkpoint(name)
    require_scenes(name)


def require_tiles(name: str | Path) -> None:
    """Refuse a folder that is absent, or no tile set.

    Raises:
        TileError: It is.
    """
    folder = Path(name)
    if (folder / INDEX).is_file():
        return
    raise TileError(
        f"{folder} holds no tile set (there is no {INDEX} in it)."
        if folder.exists()
        else f"The tile set {folder} does not exist.",
        hint=f"It is a run; go on with it: satseg train --resume {folder}"
        if (folder / _RUN).is_file()
        else "Make one: satseg tile SCENE --labels LABELS -o TILES",
    )


def absent(names: Iterable[str | Path]) -> list[str]:
    """Return the names of files on this machine that are not there; URLs and names of GDAL's own may be."""
    return [text for text in map(str, names) if not os.path.lexists(text) and _is_local(text)]


def _is_local(name: str) -> bool:
    """Tell whether the file of a name, which is not there as a whole, is absent: it may be a URL, or name a layer."""
    from satseg.files.names import is_local_file, split_layer  # with rasterio, which only this case needs

    file, _ = split_layer(name)
    return is_local_file(file) and not os.path.lexists(file)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _verb(names: list[str]) -> str:
    return "does" if len(names) == 1 else "do"
