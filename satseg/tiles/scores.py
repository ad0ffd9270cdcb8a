"""Scores of tiles in the index, where QGIS can colour the footprints by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from satseg.files.atomic_write import staged
from satseg.presence import INDEX
from satseg.tiles.index import read_table


def write_scores(folder: Path, tiles: Sequence[str], columns: Mapping[str, Sequence[float | str]]) -> None:
    """Set columns of the index of a tile set, tile by tile.

    The index is read again first: what a user changed in the meantime stays as it is. It is replaced as a whole, so
    that it is complete at every moment.

    Args:
        folder: Folder of the tile set.
        tiles: Names of the tiles.
        columns: Values in that order by name of the column; tiles that are not named get none.

    Raises:
        OutputError: The index cannot be written.
    """
    index = read_table(folder / INDEX)
    scores = pd.DataFrame(dict(columns), index=pd.Index(tiles))
    for name in scores:
        index[name] = index["tile"].map(scores[name])
    with staged(folder / INDEX) as aside, aside.open("wb") as file:  # pyarrow may take a name for a URI
        index.to_parquet(file)
