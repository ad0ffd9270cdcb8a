"""Settings of predictions, shared by the command line, the library and the workers of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from satseg.arguments import (
    STEM,
    Bands,
    Given,
    Numbers,
    PathLike,
    Paths,
    Thresholds,
    band_names,
    byte_size,
    numbers,
    path,
    paths,
    pixels,
    pixels_or_auto,
    thresholds,
    whole_or_auto,
)
from satseg.backend.settings import Device, Overlap, Precision, Threads, Window
from satseg.errors import UsageError
from satseg.objects.stored_division import StoredDivision
from satseg.outputs.project_file import PROJECT
from satseg.raster.settings import Extra
from satseg.settings import INPUTS, OBJECTS, OUTPUTS, PERFORMANCE, QUALITY, WINDOWS, Option, Settings, options_of
from satseg.vectorization.formats import STDOUT, VECTOR_SUFFIXES
from satseg.vectorization.settings import OF_OBJECTS, PolygonSettings


class PredictionSettings(Settings):
    """How scenes are mapped.

    Raises:
        UsageError: A value is invalid.
    """

    window: Window = Given(pixels_or_auto)
    overlap: Overlap = Given(pixels_or_auto, "auto")
    batch_size: Annotated[
        Given[str | int | None, int | Literal["auto"] | None],
        Option(
            "Windows per forward pass; auto tries several numbers. Default: a number that suits the device.",
            metavar="N|auto",
            panel=WINDOWS,
            minimum=1,
        ),
    ] = Given(whole_or_auto)
    device: Device = "auto"
    precision: Precision = "auto"
    compile: Annotated[bool, Option("Compile the network first; worthwhile for large scenes.", panel=PERFORMANCE)] = (
        False
    )
    threads: Threads = None
    engine: Annotated[
        Literal["local", "ray"],
        Option(
            "Where the network runs: local is this process, ray the workers of a Ray cluster: the one that RAY_ADDRESS "
            "names or that runs on this machine, else a new one. Ray needs satseg-cli[ray].",
            panel=PERFORMANCE,
            recorded=False,
        ),
    ] = "local"
    devices: Annotated[
        int | None,
        Option(
            "Number of GPUs, or of groups of processor cores, that share each scene. More than one needs "
            "satseg-cli[ray]. Default: one, or with `engine='ray'` all of the cluster.",
            metavar="N",
            panel=PERFORMANCE,
            minimum=1,
            recorded=False,
        ),
    ] = None
    memory: Annotated[
        Given[str | int | None, int | None],
        Option(
            "Memory for windows and rows, such as 4GB: three quarters for windows, a quarter for rows. Rows that do "
            "not fit are spilled to disk beside the output. Default: 12 MiB for rows, and what the windows need.",
            metavar="SIZE",
            panel=PERFORMANCE,
            minimum=1,
            recorded=False,
        ),
    ] = Given(byte_size)
    tta: Annotated[
        Literal["none", "flips", "d4"],
        Option(
            "Test-time augmentation: average the predictions of 4 flips or of all 8 orientations (d4) of each window.",
            panel=QUALITY,
        ),
    ] = "none"
    scales: Annotated[
        Given[Numbers, tuple[float, ...]],
        Option(
            "Scales at which the network sees each window, such as 0.75,1,1.25; predictions are averaged.",
            metavar="FACTORS",
            panel=QUALITY,
        ),
    ] = Given(numbers, (1.0,))
    threshold: Annotated[
        Given[Thresholds, tuple[str, ...]],
        Option(
            "Assign a class only where its probability is at least P, as in building=0.7. May be given more than once.",
            metavar="CLASS=P",
            panel=QUALITY,
            repeated=True,
        ),
    ] = Given(thresholds, ())
    crf: Annotated[
        bool,
        Option(
            "Align boundaries with edges of the image by a dense CRF, in a second pass; for networks with coarse "
            "output.",
            panel=QUALITY,
        ),
    ] = False
    objects: Annotated[
        bool,
        Option(
            "Divide classes into objects, one polygon each, also where they touch; rasters then have ids of objects. "
            "For networks that have learnt objects.",
            panel=OBJECTS,
        ),
    ] = False
    sieve: Annotated[
        Given[str | int | None, int | None],
        Option(
            "Merge regions of fewer pixels into a neighbour, in the class raster and in the polygons. Pixels that get "
            "another class have no confidence.",
            metavar="PX",
            panel=QUALITY,
            minimum=0,
        ),
    ] = Given(pixels)
    bands: Annotated[
        Given[Bands | None, tuple[str, ...] | None],
        Option(
            "Bands to read, by number or name, separated by commas. Default: the bands of the training, by name.",
            metavar="NAMES",
        ),
    ] = Given(band_names)
    gsd: Annotated[
        Literal["model", "scene"],
        Option(
            "Pixel size that the network sees: model resamples scenes whose pixels are more than 10 % larger or "
            "smaller than in training, scene never resamples.",
            panel=INPUTS,
        ),
    ] = "model"
    extra: Extra = Given(paths, ())
    aoi: Annotated[
        Given[PathLike | None, str | None],
        Option("Vector file of the area of interest, in any CRS; only pixels inside are mapped.", metavar="FILE"),
    ] = Given(path)
    mosaic: Annotated[
        bool,
        Option(
            "Map all scenes as the mosaic they are: sheets of one grid with the same bands, with or without overlaps "
            "and gaps. Windows see across their borders, and polygons cross them. On top is the scene named last.",
            panel=INPUTS,
            recorded=False,
        ),
    ] = False
    on_read_error: Annotated[
        Literal["fail", "nodata"],
        Option(
            "What to do about parts of a scene that cannot be read: fail, or leave them empty (nodata).",
            panel=INPUTS,
            recorded=False,
        ),
    ] = "fail"
    resume: Annotated[
        bool,
        Option(
            "Continue an interrupted run; the result has the bytes of an uninterrupted one. Finished maps are skipped "
            "if they were made from the same inputs and settings.",
            recorded=False,
        ),
    ] = False
    skip_existing: Annotated[bool, Option("Skip scenes whose outputs all exist.", panel=OUTPUTS, recorded=False)] = (
        False
    )
    polygons: PolygonSettings = PolygonSettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objects and self.sieve:
            raise UsageError(
                "`sieve` would merge pixels of objects into other ones.",
                hint="Leave it out; `min_area` drops small polygons.",
            )
        if self.objects and self.polygons.keep_background:
            raise UsageError("The background has no objects.", hint="Leave out `keep_background` or `objects`.")
        for name in ("marker_depth", "max_object"):
            if name in self.polygons.given and not self.objects:
                raise UsageError(f"`{name}` has no effect on a map without objects.", hint="Set `objects=True`.")
        for name in self.polygons.attributes or ():
            if name in OF_OBJECTS and not self.objects:
                raise UsageError(f"`attributes` has {name}, which only objects have.", hint="Set `objects=True`.")

    @property
    def spreads(self) -> bool:
        """Whether other processes run the network."""
        return self.engine == "ray" or (self.devices or 1) > 1

    @property
    def row_budget(self) -> int:
        """Bytes of rows that are kept in memory."""
        from satseg.inference.reading import DEFAULT_BUDGET  # with numpy, which the command line imports later

        return DEFAULT_BUDGET if self.memory is None else self.memory // 4

    def divided_as(self, division: StoredDivision) -> PredictionSettings:
        """Return these settings with those of objects that a checkpoint brings, unless they are given."""
        return self.changed(polygons=self.polygons.divided_as(division)) if self.objects else self

    def deciding(self) -> dict[str, object]:
        """Return the settings on which the class of each pixel depends, before regions are merged, ready for JSON.

        Extra rasters are files of the scene.
        """
        return self.record(without=["sieve", "extra", *(option.name for option in options_of(PolygonSettings))])


class OutputNames(Settings):
    """Names of the outputs for any number of scenes; ``{stem}`` stands for the name of the scene without suffix.

    Raises:
        UsageError: Nothing is named, or a name has an unknown suffix.
    """

    output: Annotated[
        Given[Paths, tuple[str, ...]],
        Option(
            "File to write; its suffix names the format: .tif for the raster of classes, or of ids with `objects`; "
            ".gpkg .parquet .fgb .geojson .geojsonl .shp for polygons; - writes polygons as GeoJSONSeq to stdout. "
            "{stem} is replaced by the name of the scene; without it, the polygons of several scenes go into one "
            "layer. May be given more than once.",
            metavar="FILE",
            short="-o",
            repeated=True,
        ),
    ] = Given(paths, ())
    confidence: Annotated[
        Given[PathLike | None, str | None],
        Option("Raster of the probability of each pixel's class (.tif).", metavar="FILE"),
    ] = Given(path)
    probabilities: Annotated[
        Given[PathLike | None, str | None],
        Option("Raster of the probability of every class, one band each (.tif).", metavar="FILE", panel=OUTPUTS),
    ] = Given(path)
    disagreement: Annotated[
        Given[PathLike | None, str | None],
        Option("Raster of the difference between overlapping windows (.tif).", metavar="FILE", panel=OUTPUTS),
    ] = Given(path)
    boundary: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Raster of the probability of the inner boundary of objects (.tif), for `vectorize`.",
            metavar="FILE",
            panel=OBJECTS,
        ),
    ] = Given(path)
    distance: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Raster of the distance to the edge of the object, 1 at its core (.tif), for `vectorize`.",
            metavar="FILE",
            panel=OBJECTS,
        ),
    ] = Given(path)

    project: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "QGIS project (.qgs) with the scenes and their maps, each in its colours. It is written last.",
            metavar="FILE",
            panel=OUTPUTS,
            recorded=False,
        ),
    ] = Given(path)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.output and not self.rasters:
            raise UsageError(
                "There is no output.",
                hint="Name one: `output='out.gpkg'`, `output='classes.tif'`, or `output='-'` for stdout.",
            )
        for name in self.output:
            if name != STDOUT and not is_raster(name) and Path(name).suffix.lower() not in VECTOR_SUFFIXES:
                known = ", ".join(sorted(VECTOR_SUFFIXES))
                raise UsageError(
                    f"The output {name} has no known suffix.", hint=f"Known are .tif, {known}, and - for stdout."
                )
        for layer, name in self.rasters.items():
            if not is_raster(name):
                raise UsageError(f"`{layer}` is a raster, but {name} does not end in .tif.")
        if self.project is not None and Path(self.project).suffix.lower() != PROJECT:
            raise UsageError(f"`project` is a QGIS project, but {self.project} does not end in {PROJECT}.")
        if self.project is not None and STEM in self.project:
            raise UsageError(
                f"`project` is one file for all scenes, but {self.project} has {STEM} in its name.",
                hint="Leave that out, or map the scenes in separate runs.",
            )

    @property
    def rasters(self) -> dict[str, str]:
        """Names of the rasters besides the class raster, by layer."""
        layers = ("confidence", "probabilities", "disagreement", "boundary", "distance")
        return {layer: getattr(self, layer) for layer in layers if getattr(self, layer) is not None}

    @property
    def has_polygons(self) -> bool:
        """Whether an output has polygons."""
        return any(not is_raster(name) for name in self.output)

    @property
    def shared(self) -> tuple[str, ...]:
        """Names that stand for one layer of polygons, whatever the number of scenes."""
        return tuple(name for name in self.output if name == STDOUT or not (STEM in name or is_raster(name)))


def is_raster(name: str | Path) -> bool:
    """Tell whether an output is a raster, by its suffix."""
    return Path(name).suffix.lower() == ".tif"
