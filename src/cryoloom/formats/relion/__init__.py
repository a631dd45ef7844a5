"""RELION's files."""
