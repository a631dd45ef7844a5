"""File names and version of a project's database."""

from __future__ import annotations

__all__ = ["FILE_NAME", "TABLES_VERSION", "UNFINISHED_NAME"]

FILE_NAME = "project.sqlite"
UNFINISHED_NAME = f".{FILE_NAME}.new"
TABLES_VERSION = "7"
