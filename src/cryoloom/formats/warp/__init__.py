"""Warp's files."""
