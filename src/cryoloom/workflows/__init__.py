"""Shipped workflows (YAML), and chains of steps that are run from a page."""
