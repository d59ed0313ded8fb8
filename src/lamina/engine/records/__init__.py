"""Buckets, entries and records of one open database: the engine's second kind beside streams."""
