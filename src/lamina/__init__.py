"""Lamina: a time-series database for everything a machine emits."""

__version__ = "0.1.0"
