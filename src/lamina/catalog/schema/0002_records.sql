-- Migration 2: buckets of records with their entries and sealed sections, replications, lifecycles, wider tokens.
-- Rules as in migration 1. No foreign keys here either, for the same reason; `check` reports a section without its
-- segment.

CREATE TABLE bucket (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  provisioned INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX bucket_by_name ON bucket (name) WHERE dead = 0;

CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  bucket INTEGER NOT NULL,
  name TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX entry_by_name ON entry (bucket, name) WHERE dead = 0;

CREATE INDEX entry_by_bucket ON entry (bucket);

CREATE TABLE record_state (
  entry INTEGER PRIMARY KEY,
  applied_seq INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE record_section (
  id INTEGER PRIMARY KEY,
  entry INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  place BLOB NOT NULL,
  t_min INTEGER NOT NULL,
  t_max INTEGER NOT NULL,
  records INTEGER NOT NULL,
  min_seq INTEGER NOT NULL,
  max_seq INTEGER NOT NULL,
  deaths BLOB NOT NULL,
  cuts BLOB NOT NULL,
  blocks BLOB NOT NULL,
  files BLOB NOT NULL,
  dead INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE INDEX record_section_by_entry ON record_section (entry, t_min);

CREATE TABLE replication (
  name TEXT PRIMARY KEY,
  settings TEXT NOT NULL,
  provisioned INTEGER NOT NULL,
  queue_seq INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lifecycle (
  name TEXT PRIMARY KEY,
  settings TEXT NOT NULL,
  provisioned INTEGER NOT NULL,
  last_run_us INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- row_crc covers every column and comes last: the code that applies this file fills the wider table and drops the old.
ALTER TABLE token RENAME TO token_1;

CREATE TABLE token (
  name TEXT PRIMARY KEY,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  salt BLOB NOT NULL,
  hash BLOB NOT NULL,
  permissions TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  provisioned INTEGER NOT NULL,
  ttl_s INTEGER NOT NULL,
  last_access_us INTEGER NOT NULL,
  ip_allowlist TEXT NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
