"""Map scenes with a trained network: class rasters and polygons, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from satseg.arguments import PathLike, Paths
from satseg.errors import SatsegError
from satseg.prediction.job import PredictionJob, Scenes
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.progress import automatic
from satseg.raster.source import SceneSource
from satseg.records import DryRun, FinishedMap, PredictionSummary, Progress
from satseg.signatures import checked, checked_with
from satseg.workflows.map_project import MapProject


@checked_with(scene="satseg.predict_scenes maps several scenes.")
def predict(
    scene: PathLike | SceneSource,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    progress: Progress = automatic,
) -> PredictionSummary | None:
    """Map one scene with a trained network.

    Memory does not grow with the scene: windows are read, classified, blended, written and traced in one pass from
    the top.

    Args:
        scene: Any raster that GDAL opens, by its name or as an open dataset of rasterio, with the bands, dtype and
            scale of the training scenes; a :class:`~satseg.SceneSource` stacks several files,
            ``SceneSource.from_sheets`` joins files side by side, and ``SceneSource.from_array`` makes one of an array.
        output: File to write, or several, see :class:`~satseg.OutputNames`.
        model: Checkpoint, ``.onnx`` file, or several that are averaged; None takes the best one of the newest finished
            run below ``runs/``.
        arch: ``path/to/file.py:function`` of a checkpoint with a custom architecture; this runs the file.
        settings: How to map; see :class:`~satseg.PredictionSettings`.
        progress: Called as rows are finished, in pixels.

    Returns:
        The files written, and pixels and polygons per class. None where nothing was to be done: the outputs are all
        there, and the settings say ``skip_existing``, or ``resume`` and they were made from the same inputs.

    Raises:
        SceneError: The scene cannot be read.
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or the scene does not fit it.
        OutputError: An output cannot be written.
        UsageError: An argument makes no sense.
    """
    maps = list(predict_scenes([scene], output=output, model=model, arch=arch, settings=settings, progress=progress))
    return maps[0] if maps else None


@checked
def predict_scenes(
    scenes: Scenes,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    stream: IO[str] | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
    on_finished: Callable[[FinishedMap], None] | None = None,
    progress: Progress = automatic,
) -> Iterator[PredictionSummary]:
    """Map scenes one after the other with a network that is loaded once.

    Arguments are checked at once; a scene is mapped when the iterator reaches it:
    ``for summary in predict_scenes(...)``.

    Args:
        scenes: One raster or several. A list, tuple or set is checked as a whole before the first scene is mapped;
            an iterator is consumed scene by scene. With ``mosaic``, all of them together are one scene.
        output: As in :func:`predict`.
        model: As in :func:`predict`.
        arch: As in :func:`predict`.
        settings: As in :func:`predict`.
        stream: Text stream for the output ``-``.
        on_error: Called for each scene that fails, for any reason, and the next one follows; None raises.
        on_finished: Called for each scene whose map is finished already, with ``resume``; None logs it.
        progress: As in :func:`predict`; of several scenes, in scenes.

    Returns:
        Iterator over a summary per scene; none for those that are skipped.

    Raises:
        UsageError: An output has an unknown suffix, or several scenes would be written to one file.
        SatsegError: As :func:`predict`.
    """
    job = PredictionJob.check(scenes, output, model=model, arch=arch, settings=settings, stream=stream)
    project = MapProject.of(job)
    on_map = None if project is None else project.add
    maps = job.run(on_error=on_error, on_finished=on_finished, on_map=on_map, progress=progress)
    return maps if project is None else _then_write(maps, project)


def _then_write(maps: Iterator[PredictionSummary], project: MapProject) -> Iterator[PredictionSummary]:
    yield from maps
    project.write()


@checked
def dry_run_scenes(
    scenes: Scenes,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
) -> Iterator[DryRun]:
    """Estimate what :func:`predict_scenes` takes for each scene, after a short probe; nothing is written.

    The probe runs in this process, and its time is that of this process alone, with any engine.

    Args:
        scenes: As in :func:`predict_scenes`.
        output: What would be written.
        model: As in :func:`predict_scenes`.
        arch: As in :func:`predict_scenes`.
        settings: How scenes would be mapped.
        on_error: As in :func:`predict_scenes`.

    Raises:
        SatsegError: As :func:`predict`.
    """
    return PredictionJob.check(scenes, output, model=model, arch=arch, settings=settings).dry_run(on_error=on_error)
