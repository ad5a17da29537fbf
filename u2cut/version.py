"""The version, where everyone may read it and the build does."""

__version__ = "0.2.0"
