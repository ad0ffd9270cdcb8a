"""Carry labels from the scene of one date to that of another."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from satseg.arguments import PathLike, Paths, path, paths
from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.command_line import command_line, without_secrets
from satseg.errors import LabelError, UsageError
from satseg.files.atomic_write import atomic_write, locked, work_folder
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger
from satseg.geo.units import parse_length
from satseg.labels.class_lists import class_map_files, read_class_map
from satseg.labels.label_files import open_labels
from satseg.labels.labels import Labels
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import write_map
from satseg.presence import require_labels, require_scenes
from satseg.progress import automatic
from satseg.propagation.scene_pair import ScenePair
from satseg.propagation.settings import PropagateSettings
from satseg.raster.scene import Scene
from satseg.records import Progress, ProgressEvent, PropagationSummary, Rows, SceneInfo
from satseg.signatures import checked
from satseg.vectorization.formats import VECTOR_SUFFIXES
from satseg.vectorization.settings import PolygonSettings
from satseg.vectorization.sink import PolygonSink
from satseg.version import __version__

_RASTER = ".tif"
_MOST = 100  # px: windows in which displacements are measured have 256 px
_ROWS = 128


@checked
def propagate(
    labels: Paths,
    *,
    from_: PathLike,
    to: PathLike,
    output: Paths,
    settings: PropagateSettings | None = None,
    progress: Progress = automatic,
) -> PropagationSummary:
    """Carry labels of one date to a scene of another date, where the ground is still the same.

    How far the ground has moved between the scenes is measured part by part. Where the later scene shows other ground
    than the earlier one, in whatever colours and light, pixels are left out. The result is a label file on the grid of
    the later scene: tile it with that scene, and train on both dates.

    Args:
        labels: Class rasters or vector files with the labels of the earlier scene, from bottom to top.
        from_: The scene that the labels belong to, in any grid and CRS.
        to: The scene that labels are made for. It may also be the older one.
        output: One or several files: ``.tif`` is a class raster in which what is left out is nodata (255); vector files
            (``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``, ``.geojsonl``, ``.shp``) have polygons of all classes,
            with background, and none where ground is left out: read them with ``class_field="class_name"`` and
            ``outside="ignore"``.
        settings: What the labels mean, and how scenes are compared.
        progress: Called as pixels are compared.

    Returns:
        Pixels that keep their label, by class, and those that have changed.

    Raises:
        LabelError: Labels cannot be read, or do not touch the scene.
        SceneError: A scene cannot be read, or the two have no ground in common, or nothing on it looks the same.
        UsageError: There is no output, or it has an unknown suffix or is an input.
        OutputError: An output cannot be written.
    """
    files, names = paths(labels, "labels"), paths(output, "output")
    scenes = path(from_, "from_"), path(to, "to")
    settings = settings or PropagateSettings()
    _check(files, scenes, names, settings)
    outputs = [Path(name) for name in names]
    class_map = read_class_map(settings.class_map)
    words = settings.words() if class_map is None else settings.words(class_map=class_map.text)
    call = command_line(["propagate", *files, "--from", scenes[0], "--to", scenes[1], *_spelt("-o", names), *words])
    tags = {
        "SATSEG_SCENE": without_secrets(scenes[1]),
        "SATSEG_VERSION": __version__,
        "SATSEG_COMMAND": call,
    }
    with locked(*outputs), gdal_environment(), ExitStack() as stack:
        source = open_labels(files, settings.meaning, class_map=class_map, progress=progress)
        source.warn_of_unmatched(class_map)
        limit = _limit(settings, scenes[1])
        pair = stack.enter_context(ScenePair(*scenes, limit=limit, progress=progress))
        known = stack.enter_context(source.on(pair.info))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work_folder(outputs[0]))))
        work = stack.enter_context(WorkRaster(folder / "classes.raw", height=pair.info.height, width=pair.info.width))
        counts, changed = _carry(pair, known, work, settings.deviation, progress)
        if changed == 0 and not counts[:IGNORE_INDEX].any():
            raise LabelError(
                f"No label of {source.path} lies on ground that both {scenes[0]} and {scenes[1]} show.",
                hint="Check with `satseg.info` where each of them lies.",
            )
        _write(work, outputs, pair.info, source.classes, tags)
    down, right = pair.displacements.median
    return PropagationSummary(
        outputs=tuple(map(str, outputs)),
        pixels={entry.name: int(counts[entry.id]) for entry in source.classes},
        changed=changed,
        unknown=int(counts[IGNORE_INDEX]) - changed,
        shift=(right, down),
    )


def _check(files: Sequence[str], scenes: Sequence[str], names: Sequence[str], settings: PropagateSettings) -> None:
    require_labels(*files)
    require_scenes(*scenes)
    if not names:
        raise UsageError("There is no output.", hint="Name one, such as `output='labels.tif'`.")
    ledger = Ledger([*files, *scenes, settings.meaning.labelled_area, *class_map_files(settings.class_map)])
    for name in names:
        if Path(name).suffix.lower() not in (_RASTER, *VECTOR_SUFFIXES):
            known = ", ".join((_RASTER, *sorted(VECTOR_SUFFIXES)))
            raise UsageError(f"The output {name} has no known suffix.", hint=f"Known are {known}.")
        ledger.write(Path(name))


def _limit(settings: PropagateSettings, scene: str) -> float:
    """Return the largest displacement in pixels."""
    with Scene.open(scene) as opened:
        limit = max(parse_length(settings.max_shift, "max_shift").in_pixels(opened.info.gsd))
    if not 1 <= limit <= _MOST:
        raise UsageError(
            f"`max_shift={settings.max_shift}` is {limit:.3g} px of {scene}; displacements of 1 to {_MOST} px can be "
            "looked for.",
            hint="Scenes that are further apart need other coordinates first.",
        )
    return limit


def _carry(
    pair: ScenePair, labels: Labels, work: WorkRaster, deviation: float, progress: Progress
) -> tuple[np.ndarray, int]:
    """Fill a work raster with labels, and return pixels by class id, (256,) int64, and those that have changed."""
    counts, changed, done = np.zeros(256, dtype=np.int64), 0, 0
    for window in pair.blocks():
        classes, lost = pair.carry(labels, window, deviation=deviation)
        work.write(int(window.row_off), int(window.col_off), classes[None])
        counts += np.bincount(classes.ravel(), minlength=256)
        changed += int(lost.sum())
        done += classes.size
        progress(ProgressEvent("Carrying", done, pair.info.pixels, "px"))
    return counts, changed


def _write(
    work: WorkRaster, outputs: Sequence[Path], scene: SceneInfo, classes: ClassTable, tags: Mapping[str, str]
) -> None:
    """Write class rasters and polygons; they take their names when all are complete."""
    rasters = [file for file in outputs if file.suffix.lower() == _RASTER]
    vectors = [file for file in outputs if file not in rasters]
    with ExitStack() as stack:
        for file in rasters:
            write_map(work, stack.enter_context(atomic_write(file)), scene, classes, tags)
        if vectors:
            exact = PolygonSettings(raw=True, keep_background=True)
            sink = stack.enter_context(PolygonSink(vectors, classes=classes, provenance=tags, options=exact))
            sink.begin(scene)
            for top in range(0, scene.height, _ROWS):
                sink.write(Rows(top, work.read(top, min(top + _ROWS, scene.height))[0]))
            sink.close()


def _spelt(flag: str, names: Sequence[str]) -> list[str]:
    return [word for name in names for word in (flag, name)]
