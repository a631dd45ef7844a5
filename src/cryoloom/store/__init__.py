"""The project on disk: SQLite database, run folders, provenance."""
