"""IMOD's files."""
