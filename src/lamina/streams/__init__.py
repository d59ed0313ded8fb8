"""Streams: points (time, value) of one sensor, versioned, in a statistical tree.

Bytes: `node` (rows, addresses), `FORMAT.md`. Writing: `tree.merge` goes down the levels, lets `leafwrite` rewrite
leaves (cut by `partition`, summed up by `summary`, thinned by `removals`) and `nodes` rebuild what is above. Older
roots: `history`. Space: `compaction`. Reading starts from a `view`.
"""
