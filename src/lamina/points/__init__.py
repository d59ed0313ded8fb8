"""Points: tagged measurements as columns, what a change of them means, and how they are found again.

`point` and `queries` are what users hold (no NumPy there); `batch` and `field` are points as columns; `ops` and `packed`
the bytes in the log; `columns` is the model in memory of the TinyFlux drop-in.
"""
