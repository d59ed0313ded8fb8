"""Data as tables: SQL over the streams' metadata (`sql`), files for other tools (`export`, `import_`)."""
