"""Points: tagged measurements as columns, what a change of them means, and how they are found again (FORMAT.md).

What users hold: `point`, `queries`, `updates` (no NumPy there). In columns: `field`, `batch`; from and to tables:
`tables`. In the log: `ops`, `packed`. Published: `tail`, `section`, `state`. Sealed: `sectionwrite`, `sectionread`, of
columns in `pagedwrite`, `pagedread` with `marks`. Asked: `search` by `masks`, and `windows` by `windowparts`. `columns`
is the model in memory of the TinyFlux drop-in.
"""
