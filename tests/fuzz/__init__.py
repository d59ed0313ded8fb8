"""Garbage for everything that reads bytes from outside or from the disk; docs/reliability.md has the commands."""
