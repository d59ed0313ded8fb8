"""The version a program sees: Lamina's own. Names and behaviour follow tinyflux 1.2.0."""

from lamina.version import __version__

__all__ = ["__version__"]
