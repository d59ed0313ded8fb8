"""Wires: one protocol each, no state. They decode, call the engine once, and encode."""
