"""Reconstruction by programs that take aligned stacks."""
