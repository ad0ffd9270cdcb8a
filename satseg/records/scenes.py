"""Metadata of scenes and their bands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from satseg.fields import FieldError, Fields, shown
from satseg.results import Result

if TYPE_CHECKING:
    from affine import Affine

_SIZES = {"uint": (8, 16, 32, 64), "int": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = tuple(f"{kind}{bits}" for kind, sizes in _SIZES.items() for bits in sizes)
"""Names of the data types of raw values."""


@dataclass(frozen=True)
class BandSpec:
    """The meaning of the values of an image; a network works only with the spec on which it was trained.

    Args:
        names: Band names in channel order; ``band_N`` for bands without a name.
        dtype: Common numpy dtype of the raw values, by name.
        scales: Scale of each band (physical value = scale * raw + offset).
        offsets: Offset of each band.
        extra: How many bands, the last ones, come from extra rasters, such as elevation, and not from the scene.
    """

    names: tuple[str, ...]
    dtype: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    extra: int = 0

    @classmethod
    def from_dict(cls, data: Any, name: str = "bands") -> BandSpec:
        """Read it from JSON of :meth:`to_dict`.

        Raises:
            FieldError: An entry, called ``name`` in the message, is missing or invalid.
        """
        fields = Fields(data, name)
        names = fields.texts("names")
        if not names:
            raise FieldError(f"{name}.names is empty")
        return cls(
            names=names,
            dtype=fields.choice("dtype", DTYPES),
            scales=fields.numbers("scales", len(names)),
            offsets=fields.numbers("offsets", len(names)),
            extra=fields.whole("extra", least=0, most=len(names) - 1) if fields.holds("extra") else 0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON; ``extra`` is left out where there is none."""
        parts = asdict(self)
        return parts if self.extra else {name: part for name, part in parts.items() if name != "extra"}

    @property
    def own(self) -> BandSpec:
        """The bands of the scene itself."""
        return self.first(len(self) - self.extra)

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Names of the bands of extra rasters."""
        return self.names[len(self) - self.extra :]

    def first(self, count: int) -> BandSpec:
        """Return the first bands, none of which counts as extra."""
        return BandSpec(self.names[:count], self.dtype, self.scales[:count], self.offsets[:count])

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, repr=False)
class SceneInfo(Result):
    """Metadata of a raster, known without reading its pixels.

    Args:
        path: A path, a URL or a GDAL name.
        width: Columns.
        height: Rows.
        bands: The image bands, in file order, without alpha and mask bands.
        nodata: Nodata value, or None.
        has_mask: Whether some pixels may be invalid (nodata, alpha, mask band, NaN).
        crs: ``EPSG:...`` or WKT, or None without a CRS or a geotransform.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        gsd: Ground metres per pixel along x and along y, measured on the ellipsoid at the centre of the scene; None
            without a CRS.
        doubt: What seems wrong with its georeferencing, as a phrase that follows its name, or None.
    """

    path: str
    width: int
    height: int
    bands: BandSpec
    nodata: float | None
    has_mask: bool
    crs: str | None
    transform: Affine
    gsd: tuple[float, float] | None
    doubt: str | None = None

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.width * self.height


@dataclass(frozen=True)
class BandStatistics:
    """Statistics of the raw values of each band over valid pixels, in float64.

    Args:
        count: Valid pixels.
        mean: Mean of each band.
        std: Standard deviation of each band (population).
        minimum: Smallest value of each band.
        maximum: Largest value of each band.
    """

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    @classmethod
    def from_dict(cls, data: Any, bands: int, name: str = "statistics") -> BandStatistics:
        """Read it from JSON of ``dataclasses.asdict``, for a number of bands.

        Raises:
            FieldError: An entry, called ``name`` in the message, is missing or invalid.
        """
        fields = Fields(data, name)
        minimum, maximum = fields.numbers("minimum", bands), fields.numbers("maximum", bands)
        if any(low > high for low, high in zip(minimum, maximum, strict=True)):
            raise FieldError(f"{name}.minimum is {shown(minimum)}, above the maximum {shown(maximum)}")
        return cls(
            count=fields.whole("count"),
            mean=fields.numbers("mean", bands),
            std=fields.numbers("std", bands, least=0),
            minimum=minimum,
            maximum=maximum,
        )


@dataclass(frozen=True)
class Clipping:
    """Normalisation of bands of which some have heavy tails: the middle of their values, and where they are clipped.

    Args:
        centre: Median of each heavy-tailed band; mean of the others.
        spread: Half of the distance between the 16th and the 84th percentile, which is the standard deviation of
            normally distributed values; standard deviation of the other bands.
        limit: Spreads from the centre at which all bands are clipped.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float

    @classmethod
    def from_dict(cls, data: Any, bands: int, name: str = "clipping") -> Clipping:
        """Read it from JSON of ``dataclasses.asdict``, for a number of bands.

        Raises:
            FieldError: An entry, called ``name`` in the message, is missing or invalid.
        """
        fields = Fields(data, name)
        return cls(
            centre=fields.numbers("centre", bands),
            spread=fields.numbers("spread", bands, least=0),
            limit=fields.number("limit", least=1),
        )

    def middle(self, statistics: BandStatistics) -> BandStatistics:
        """Return statistics with centre and spread in place of mean and standard deviation."""
        return replace(statistics, mean=self.centre, std=self.spread)
