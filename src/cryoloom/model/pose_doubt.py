"""Why no step gives a resolution of particles (decision 26): of one set, of several, and as a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryoloom.model.particles import Particles

__all__ = ["doubt_of", "doubts_of", "no_resolution"]


def doubts_of(items: Sequence[Particles]) -> tuple[str, str]:
    """The fields ``pose_doubt`` and ``common_reference`` of one set of all these particles."""
    return (
        _each_once(item.pose_doubt for item in items),
        _each_once(item.common_reference for item in items),
    )


def doubt_of(items: Sequence[Particles]) -> str:
    """Why no step gives a resolution of sets with these poses, each reason once; "" if none is known."""
    doubt, reference = doubts_of(items)
    return _each_once((doubt, f"both halves were aligned to {reference}" if reference else ""))


def no_resolution(doubt: str) -> str:
    """What every step, export and page gives instead of a resolution, for a reason as of `doubt_of`."""
    return (
        f"the step that found these poses gives no resolution: {doubt}. Run refine with these particles: "
        "it tests the poses that it finds"
    )


def _each_once(reasons: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))
