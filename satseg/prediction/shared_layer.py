"""One layer of polygons for the maps of several scenes."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from satseg.files.atomic_write import locked, work_folder
from satseg.files.disk_space import require_space, rows_in
from satseg.inference.timing import Stopwatch
from satseg.mapfile.map_work import INCOMPLETE, has_finished_rows
from satseg.mapfile.work_raster import WorkRaster
from satseg.prediction.streaming import RowStream
from satseg.raster.source import SceneSource
from satseg.records import MapLayer, SceneInfo, VectorSummary
from satseg.vectorization.sink import PolygonSink

log = logging.getLogger("satseg")

_MOST_LETTERS = 50  # of a scene's name; file systems take 255 bytes


class SharedLayer:
    """One layer with the polygons of several scenes.

    A scene's polygons are traced when its map is complete, so that one that fails leaves nothing in the layer. The work
    rasters of all scenes are kept until the layer is complete, to resume from.

    Args:
        sink: Takes the rows of one scene after the other.
        paths: Files of the layer; none where polygons go to a stream alone. They are locked until the block ends.

    Raises:
        OutputError: Another run makes one of them at this moment.
    """

    def __init__(self, sink: PolygonSink, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._locks = ExitStack()
        self._locks.enter_context(locked(*paths))
        self._sink = sink
        self._added: list[Path] = []
        self._scratch = None if paths else tempfile.TemporaryDirectory(prefix="satseg-")
        self._folder = Path(self._scratch.name) if self._scratch else work_folder(paths[0])

    def work_folder(self, source: SceneSource) -> Path:
        """Return the folder in which a scene's map grows."""
        digest = hashlib.sha256(os.fsencode("\n".join(source.paths))).hexdigest()[:8]
        return self._folder / f"{source.stem[:_MOST_LETTERS]}-{digest}"

    def require_space(self, wanted: int) -> None:
        """Refuse work that will not fit on the disk.

        Args:
            wanted: Bytes of the work rasters of all scenes; what is there already, to be resumed, is taken off.

        Raises:
            OutputError: There is less space.
        """
        require_space({self._folder: max(0, wanted - rows_in(self._folder))})

    def add(
        self, source: SceneSource, info: SceneInfo, rasters: dict[MapLayer, WorkRaster], watch: Stopwatch
    ) -> VectorSummary:
        """Trace a complete map."""
        try:
            self._sink.begin(
                info,
                confidence=MapLayer.CONFIDENCE in rasters,
                objects=MapLayer.OBJECTS in rasters,
                hold=self.work_folder(source),
            )
            with ExitStack() as stack:
                stream = RowStream(rasters, [self._sink], stopwatch=watch)
                stack.callback(stream.stop)
                stream.advance(info.height)
                stream.finish()
            summary = self._sink.end()
        except BaseException:
            self._sink.drop()
            raise
        self._added.append(self.work_folder(source))
        return summary

    def close(self, *, complete: bool = True) -> VectorSummary:
        """Complete the layer and give it its name.

        Args:
            complete: Whether all scenes are in it. If not, a note to that effect stays, since it is not finished then.
        """
        summary = self._sink.close()
        note = self._folder / INCOMPLETE
        if self.paths:
            with suppress(OSError):
                note.unlink(missing_ok=True) if complete else note.touch()
        for folder in self._added:  # what failed stays, to be resumed
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()
        return summary

    def __enter__(self) -> SharedLayer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._locks:
            self._sink.abort()
            if self._scratch is not None:
                self._scratch.cleanup()
            elif has_finished_rows(self._folder):
                log.warning("The maps begun so far are kept in %s: continue with `resume=True`.", self._folder)
