"""Points in an open database: measurements on the common log, sealed into segments of columns."""
