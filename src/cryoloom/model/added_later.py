"""Marker for fields that were added to the model after projects were made without them."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["ADDED_LATER"]

ADDED_LATER = MappingProxyType({"added_later": True})
"""``field(default=..., metadata=ADDED_LATER)``: with its default the field is not stored, so that an imported
series is stored as before, has the same cache key, and results of an older project stay valid."""
