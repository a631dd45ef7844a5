"""Denoising by outside programs."""
