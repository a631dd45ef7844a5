"""Contrast transfer: Thon rings, defocus, handedness and correction."""
