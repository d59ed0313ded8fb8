"""Records: timestamped, labelled blobs of any size, in the entries of buckets (FORMAT.md, ARCHITECTURE.md).

Pure functions and values: what an op means, what a tail holds, how an index section is laid out, which records a
condition selects. Files, log and catalog are the engine's business.
"""
