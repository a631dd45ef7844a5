"""Segmentation of tomograms: membranes."""
