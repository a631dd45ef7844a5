"""Cryo-electron tomography from raw movies to tomograms, in one package that records every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryoloom.version import __version__

if TYPE_CHECKING:
    from cryoloom.engine.project import Project

__all__ = ["Project", "__version__"]


def __getattr__(name: str) -> object:
    """Load the engine on first use, so that ``import cryoloom`` stays quick."""
    if name == "Project":
        from cryoloom.engine.project import Project

        return Project
    raise AttributeError(f"module 'cryoloom' has no attribute {name!r}")
