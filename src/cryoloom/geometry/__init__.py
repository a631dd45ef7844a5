"""Rotations, frames and the projection of a tilt: the only code that knows a convention.

The conventions are written down, with a picture each, in ``docs/explanation/conventions.md``.
"""
