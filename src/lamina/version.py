"""The version of Lamina, where anything may ask for it without importing more."""

__version__ = "0.1.0"
