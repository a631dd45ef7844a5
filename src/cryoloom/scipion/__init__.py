"""Workflows of Scipion, translated."""
