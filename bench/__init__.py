"""Benchmarks: Lamina next to what it is measured against, on the same data in the same run (docs/benchmarks.md).

Every program prints lines of ours, the reference, the ratio and the ratio that must be reached. A slow result is a
result: the exit status never depends on timing.
"""
