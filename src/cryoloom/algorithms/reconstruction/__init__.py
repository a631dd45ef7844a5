"""Volumes from aligned images."""
