"""Refuse missing files at once, before the libraries that read them, which take seconds, are imported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from satseg.arguments import file_and_name, list_few
from satseg.errors import ArchitectureError, AreaError, CheckpointError, LabelError, SceneError, TileError
from satseg.sample import named_network

HEADER = "tileset.json"
"""Description of a tile set, in its folder."""

INDEX = "index.parquet"
"""Index of a tile set; a folder with this file is a tile set."""

_RUN = "settings.json"  # a folder with this file is a training run

BEST = "best.safetensors"
"""Best checkpoint of a training run, in its folder."""

ONNX = ".onnx"
"""Suffix of ONNX files, which commands take in the place of checkpoints where these are only run."""


def require_scenes(*names: str | Path) -> None:
    """Refuse scenes and maps that do not exist.

    Raises:
        SceneError: At least one does not exist.
    """
    if missing := absent(names):
        raise SceneError(f"{list_few(missing)} {_verb(missing)} not exist.")


def require_labels(*names: str | Path) -> None:
    """Refuse labels that do not exist.

    Raises:
        LabelError: At least one file does not exist.
    """
    if missing := absent(names):
        raise LabelError(f"Labels {list_few(missing)} do not exist.")


def require_labelled_area(name: str | Path) -> None:
    """Refuse a labelled area that does not exist.

    Raises:
        LabelError: It does not exist.
    """
    if absent([name]):
        raise LabelError(f"The labelled area {name} does not exist.")


def require_area(name: str | Path) -> None:
    """Refuse an area of interest that does not exist.

    Raises:
        AreaError: It does not exist.
    """
    if absent([name]):
        raise AreaError(f"The area of interest {name} does not exist.")


def require_checkpoint(name: str | Path) -> Path:
    """Return the file of a checkpoint, given by its path, by the folder of its run, or as ``sample``.

    Raises:
        CheckpointError: There is no such file.
    """
    path = named_network(name)
    if path.is_dir():
        path = path / BEST
    if not path.is_file():
        state = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"The checkpoint {path} {state}.", hint="Train a network: `satseg.train`.")
    return path


def is_onnx(name: str | Path) -> bool:
    """Tell whether a name is that of an ONNX file."""
    return Path(name).suffix.lower() == ONNX


def is_network(name: str | Path) -> bool:
    """Tell whether a name is that of a checkpoint, or of an ONNX file in the place of one."""
    return named_network(name).suffix == ".safetensors" or is_onnx(name)


def require_custom_network(arch: str | None) -> None:
    """Refuse ``path/to/file.py:function`` if the file does not exist; accept names of built-in networks.

    Raises:
        ArchitectureError: The file does not exist.
    """
    file, _ = file_and_name(arch or "")
    if file and not Path(file).is_file():
        raise ArchitectureError(f"The file {file} does not exist.")


def require_subject(name: str | Path) -> None:
    """Refuse to evaluate a file that does not exist.

    Raises:
        CheckpointError: It has the suffix of a checkpoint, or of an ONNX file.
        SceneError: It has another suffix.
    """
    if absent([name]) and is_network(name):
        require_checkpoint(name)
    else:
        require_scenes(name)


def require_tiles(name: str | Path) -> None:
    """Refuse a folder that does not exist or is not a tile set.

    Raises:
        TileError: It does not exist, or has no index.
    """
    folder = Path(name)
    if (folder / INDEX).is_file():
        return
    raise TileError(
        f"{folder} is not a tile set: it contains no {INDEX}."
        if folder.exists()
        else f"The tile set {folder} does not exist.",
        hint="It is a training run; continue it: `satseg.train` with `resume=True`."
        if (folder / _RUN).is_file()
        else "Create a tile set: `satseg.tile`.",
    )


def absent(names: Iterable[str | Path]) -> list[str]:
    """Return the local files that do not exist; URLs and GDAL dataset names are not checked."""
    return [text for text in map(str, names) if not os.path.lexists(text) and _is_local(text)]


def _is_local(name: str) -> bool:
    """Tell whether a name that is not a path is a missing file, and not a URL or a file with a layer."""
    from satseg.files.names import is_local_file, split_layer  # with rasterio, which only this case needs

    file, _ = split_layer(name)
    return is_local_file(file) and not os.path.lexists(file)


def _verb(names: list[str]) -> str:
    return "does" if len(names) == 1 else "do"
