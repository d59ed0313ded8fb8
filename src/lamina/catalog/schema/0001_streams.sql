-- Migration 1: the database, segments, streams and their metadata.
-- Every statement ends with a semicolon at the end of a line. The last column of every table is row_crc (FORMAT.md).
-- No foreign key joins `stream` and `stream_root`: metadata and flushes write them in different transactions, in either
-- order at recovery; `check` reports a root without its stream.

PRAGMA application_id = 1279348041;

CREATE TABLE format (
  key INTEGER PRIMARY KEY CHECK (key = 0),
  read INTEGER NOT NULL,
  write INTEGER NOT NULL,
  writer TEXT NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE database (
  key INTEGER PRIMARY KEY CHECK (key = 0),
  id BLOB NOT NULL,
  created_us INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  instance TEXT NOT NULL,
  meta_applied_seq INTEGER NOT NULL,
  last_wall_us INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE sequence (
  name TEXT PRIMARY KEY,
  next INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  live_bytes INTEGER NOT NULL,
  min_seq INTEGER NOT NULL,
  max_seq INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  state TEXT NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  uuid BLOB NOT NULL,
  collection TEXT NOT NULL,
  tags TEXT NOT NULL,
  annotations TEXT NOT NULL,
  property_version INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  oldest_version INTEGER NOT NULL,
  retention TEXT NOT NULL,
  name TEXT NOT NULL,
  tags_key TEXT NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX stream_by_uuid ON stream (uuid);

CREATE UNIQUE INDEX stream_by_tags ON stream (collection, tags_key);

CREATE INDEX stream_by_name ON stream (collection, name);

CREATE TABLE stream_root (
  stream INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  root BLOB NOT NULL,
  history BLOB NOT NULL,
  applied_seq INTEGER NOT NULL,
  points INTEGER NOT NULL,
  codec TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT;

CREATE TABLE burnt_uuid (
  uuid BLOB PRIMARY KEY,
  seq INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pin (
  name TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

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
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  row_crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
