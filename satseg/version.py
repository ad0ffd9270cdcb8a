"""The version of satseg, for all that record it: apart from the package, which imports every room."""

__version__ = "0.1.0"
