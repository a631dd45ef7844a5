"""Steps that average particles which are there already, one after the other, by what they start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["AVERAGING_CHAINS", "Link"]


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a chain."""

    title: str
    step: str
    source: str = ""
    """Output that the step takes; "" for the particles that the chain is given."""
    takes_symmetry: bool = True
    """Whether symmetry and diameter of the particle are parameters of the step."""


_POSTPROCESS = Link("postprocess", "postprocess", "refine", takes_symmetry=False)
AVERAGING_CHAINS: Mapping[str, tuple[Link, ...]] = MappingProxyType(
    {
        "nothing": (
            Link("first map", "initial_model"),
            Link("refine", "refine", "initial_model.particles"),
            _POSTPROCESS,
        ),
        "map": (Link("refine", "refine"), _POSTPROCESS),
        "as they lie": (Link("average as they lie", "reconstruct_particle"),),
    }
)
