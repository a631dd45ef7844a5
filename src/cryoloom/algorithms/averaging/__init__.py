"""Averages of particles from their 2D images: likelihood, search, refinement, reconstruction."""
