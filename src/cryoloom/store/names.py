"""What everybody who opens a project's database must know."""

from __future__ import annotations

__all__ = ["FILE_NAME", "TABLES_VERSION", "UNFINISHED_NAME"]

FILE_NAME = "project.sqlite"
UNFINISHED_NAME = f".{FILE_NAME}.new"
TABLES_VERSION = "5"
