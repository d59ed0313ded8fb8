"""Points in columns: measurement, tags and fields over time, grouped by the keys a point has."""
