"""Volumes with less noise."""
