"""Drawings of users, converted for the steps: models, tracks, slabs."""
