"""Specimens, microscope and detector: raw data whose truth is known."""
