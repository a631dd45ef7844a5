"""Shipped workflows (YAML)."""
