"""EMAN2: CTF of tilt series, and tomograms."""
