"""Bytes under names: files, immutable objects, the commit log, and the envelope of a segment.

`files`, `blobs` and `log` are the seams; `local` and `memory` fill the first, `fileblobs` the second out
of the first. Nothing above this package opens a file.
"""
