-- Migration 3: measurements of points with their sealed sections.
-- Rules as in migration 1. No foreign keys here either, for the same reason; `check` reports a section without its
-- segment.

CREATE TABLE measurement (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX measurement_by_name ON measurement (name);

CREATE TABLE point_state (
  measurement INTEGER PRIMARY KEY,
  applied_seq INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE point_section (
  id INTEGER PRIMARY KEY,
  measurement INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  place BLOB NOT NULL,
  t_min INTEGER NOT NULL,
  t_max INTEGER NOT NULL,
  points INTEGER NOT NULL,
  ordinal_min INTEGER NOT NULL,
  ordinal_max INTEGER NOT NULL,
  min_seq INTEGER NOT NULL,
  max_seq INTEGER NOT NULL,
  deaths BLOB NOT NULL,
  died INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE INDEX point_section_by_measurement ON point_section (measurement, t_min);
