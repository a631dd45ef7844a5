"""A quantity with its nominal, measured and applied value, all of which are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Sourced"]


@dataclass(frozen=True, slots=True)
class Sourced:
    """Nominal value from metadata or the user, value measured from the data, and value in use.

    The unit is in the name of the field that holds it. ``applied`` is what later steps use; a
    measurement never replaces it unless a step says so.
    """

    told: float | None = None
    told_by: str = ""
    measured: float | None = None
    measured_by: str = ""
    applied: float | None = None

    @classmethod
    def from_told(cls, value: float | None, by: str) -> Sourced:
        """Start from the nominal value by metadata or the user, and apply it."""
        return cls(told=value, told_by=by if value is not None else "", applied=value)

    def overruled_by_user(self, value: float | None) -> Sourced:
        """Apply the user's value if there is one, and keep the metadata's beside it."""
        if value is None:
            return self
        return replace(self, applied=value) if self.told is not None else Sourced.from_told(value, "user")

    def with_measured(self, value: float, by: str, *, apply: bool) -> Sourced:
        """Add a measurement, and apply it if requested."""
        return replace(self, measured=value, measured_by=by, applied=value if apply else self.applied)
