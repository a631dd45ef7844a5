"""Poses of a tilt series: tracks, bundle adjustment, and the specimen's slab."""
