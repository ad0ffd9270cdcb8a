"""Write scores of tiles into the index, so that QGIS can colour the footprints by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from satseg.files.atomic_write import atomic_write
from satseg.presence import INDEX
from satseg.tiles.index import read_table


def write_scores(folder: Path, tiles: Sequence[str], columns: Mapping[str, Sequence[float | str]]) -> None:
    """Set columns of the index of a tile set, tile by tile.

    The index is read again first, so that changes by the user are kept, and replaced atomically.

    Args:
        folder: Folder of the tile set.
        tiles: Names of the tiles.
        columns: Values in that order by column name; other tiles get none.

    Raises:
        OutputError: The index cannot be written.
    """
    index = read_table(folder / INDEX)
    scores = pd.DataFrame(dict(columns), index=pd.Index(tiles))
    for name in scores:
        index[name] = index["tile"].map(scores[name])
    with atomic_write(folder / INDEX) as aside, aside.open("wb") as file:  # pyarrow may take a name for a URI
        index.to_parquet(file)
