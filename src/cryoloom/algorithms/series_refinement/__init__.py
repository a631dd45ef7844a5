"""Refinement of a tilt series by its particles and their average: geometry, defocus, amplitudes."""
