"""Upkeep seen from outside: health and metrics of an open database, and work on directories."""
