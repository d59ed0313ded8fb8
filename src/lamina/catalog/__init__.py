"""Names and pointers, changed atomically: the one mutable thing of a database.

`catalog.py` is the seam, `rows.py` what it holds; `sqlite.py` and `memory.py` keep it, `metafile.py` carries
the part that only the catalog knows through the log and the meta segments. FORMAT.md has the bytes.
"""
