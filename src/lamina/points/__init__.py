"""Points: tagged measurements as columns, what a change of them means, and how they are found again.

`point` and `queries` are what users hold (no NumPy there); `field` and `batch` are points as columns; `packed` and
`ops` their bytes in the log; `tail`, `section` and `state` what is published of a measurement; `columns` is the model
in memory of the TinyFlux drop-in.
"""
