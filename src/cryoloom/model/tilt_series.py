"""A tilt series: an immutable value that gains knowledge from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.limits import require
from cryoloom.model.microscope import Microscope
from cryoloom.model.movie import GainReference, Movie
from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.pixels import Pixels
from cryoloom.model.slab import Slab
from cryoloom.model.sourced import Sourced
from cryoloom.model.tilt import DecisionsBySeries, Tilt, TiltOverride

__all__ = ["Stack", "TiltSeries"]


@dataclass(frozen=True, slots=True)
class Stack:
    """Pixels of a series, ``(tilt, y, x)``: section ``i`` belongs to the tilt whose ``section`` is ``i``."""

    images: Pixels
    pixel_size_angstrom: float
    even: Pixels | None = None
    """The same from every second frame (0, 2, ...) only, with the same shifts."""
    odd: Pixels | None = None
    ctf_correction: str = ""
    """Method of the CTF correction of these pixels; "" if there was none."""
    image_keys: tuple[str, ...] = field(default=(), metadata={"added_later": True})
    """Key of the image of each section: equal keys mean equal pixels. Empty if not known."""

    def __post_init__(self) -> None:
        """Refuse an impossible pixel size (`limits`)."""
        require("pixel size", self.pixel_size_angstrom)

    @property
    def present(self) -> dict[str, Pixels]:
        """The images, and the even and odd ones if there are any, by name."""
        named = {"images": self.images, "even": self.even, "odd": self.odd}
        return {name: pixels for name, pixels in named.items() if pixels is not None}

    def of_each(self, made: Callable[[Pixels], Pixels]) -> Stack:
        """The same with what is made of the images, and of the even and odd ones where there are any."""
        even, odd = (None if half is None else made(half) for half in (self.even, self.odd))
        return replace(self, images=made(self.images), even=even, odd=odd, image_keys=())

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Image shape."""
        return self.images.shape[1], self.images.shape[2]


@dataclass(frozen=True, slots=True)
class TiltSeries:
    """Everything known of one tilt series.

    ``tilts`` is in order of ascending nominal tilt, ties by acquisition. Exclusion is a reason on a tilt,
    never a renumbering: every step takes all tilts and returns all tilts.
    """

    name: str
    microscope: Microscope
    pixel_size_angstrom: float
    """Pixel size of the movies (for EER, of the grid on which they are read). Stacks have their own."""
    tilts: tuple[Tilt, ...]
    tilt_axis_deg: Sourced = field(default_factory=Sourced)
    tilt_offset_deg: Sourced = field(default_factory=Sourced)
    """Added to nominal tilts if the specimen was not flat on the stage (pretilt)."""
    handedness: Sourced = field(default_factory=Sourced)
    """+1 or -1 (conventions.md, "Defocus"); applied None means inconclusive."""
    axis_is_directed: bool = field(default=True, metadata=ADDED_LATER)
    """False if metadata do not give the direction of the tilt axis: the opposite one mirrors the tomogram."""
    gain: GainReference | None = None
    dark_path: Path | None = field(default=None, metadata=ADDED_LATER)
    """Dark reference: counts of a frame without a beam, oriented like the movies' files."""
    stack: Stack | None = None
    """Motion-corrected images, not dose-weighted."""
    weighted: Stack | None = None
    """The same, dose-weighted."""
    corrected: Stack | None = None
    """The best of these, with the CTF corrected at every pixel's defocus."""
    slab: Slab | None = None
    """Place of the specimen, if it was measured."""

    def __post_init__(self) -> None:
        """Refuse an impossible pixel size (`limits`)."""
        require("pixel size", self.pixel_size_angstrom)

    @property
    def best_stack(self) -> Stack:
        """CTF-corrected pixels if there are any, else dose-weighted, else unweighted ones."""
        return self.corrected or self.uncorrected_stack

    @property
    def uncorrected_stack(self) -> Stack:
        """Dose-weighted pixels if there are any, else unweighted ones; never CTF-corrected."""
        found = self.weighted or self.stack
        if found is None:
            raise self._without_images()
        return found

    @property
    def unweighted_stack(self) -> Stack:
        """Pixels before dose weighting."""
        if self.stack is None:
            raise self._without_images()
        return self.stack

    def _without_images(self) -> DataUnfitError:
        if not self.tilts:
            return DataUnfitError(
                "the tomogram was imported without tilt images; connect assign_series with the aligned "
                "series of its name, or use a step that needs the volume alone",
                series=self.name,
            )
        return DataUnfitError(
            "the series has no images yet; run align_frames or import_tilt_series first", series=self.name
        )

    @property
    def included(self) -> tuple[Tilt, ...]:
        """Tilts that are not excluded, in order of tilt."""
        return tuple(tilt for tilt in self.tilts if not tilt.is_excluded)

    @property
    def median_axis_deg(self) -> float | None:
        """Median direction of the tilt axis, over the poses of the included tilts; None without poses."""
        poses = [tilt.pose for tilt in self.included if tilt.pose is not None]
        return float(np.median([pose.axis_deg for pose in poses])) if poses else None

    def movie_of(self, tilt: Tilt) -> Movie:
        """The movie of a tilt. Raises DataUnfitError without one."""
        if tilt.movie is None:
            raise DataUnfitError(
                "a tilt has no movie to align; import the movies, or leave this step out",
                series=self.name,
                acquisition_index=tilt.acquisition_index,
            )
        return tilt.movie

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Best known angle of every tilt: its pose's, else nominal plus the applied offset."""
        offset = self.tilt_offset_deg.applied or 0.0
        return np.array(
            [t.pose.tilt_deg if t.pose is not None else t.nominal_tilt_deg + offset for t in self.tilts]
        )

    def with_tilts(self, changes: Mapping[int, Mapping[str, Any]]) -> TiltSeries:
        """Copy in which the tilts of the given acquisition indices have other fields.

        ``changes`` maps an acquisition index to field names and values. Raises KeyError for an unknown index.
        """
        unknown = set(changes) - {tilt.acquisition_index for tilt in self.tilts}
        if unknown:
            raise KeyError(f"{self.name} has no tilt of acquisition index {sorted(unknown)}")
        tilts = tuple(replace(tilt, **changes.get(tilt.acquisition_index, {})) for tilt in self.tilts)
        return replace(self, tilts=tilts)

    @property
    def own_series(self) -> TiltSeries:
        """The series itself."""
        return self

    def facts(self) -> dict[str, float]:
        """Tilts, dose and pixel size; an imported tomogram's series may know no tilts."""
        facts = {
            "n_tilts": float(len(self.tilts)),
            "n_included": float(len(self.included)),
            "pixel_size_angstrom": self.pixel_size_angstrom,
        }
        if self.tilts:
            tilts = [tilt.nominal_tilt_deg for tilt in self.tilts]
            facts["lowest_tilt_deg"], facts["highest_tilt_deg"] = min(tilts), max(tilts)
            facts["dose_per_angstrom2"] = max(tilt.dose_end_per_angstrom2 for tilt in self.tilts)
        return facts

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """Its stacks."""
        sections = [tilt.section for tilt in self.tilts if tilt.section is not None]
        return tuple(
            PixelSet(stack.present, stack.pixel_size_angstrom, max(sections, default=-1) + 1)
            for stack in (self.stack, self.weighted, self.corrected)
            if stack is not None
        )

    def with_decisions(self, by_series: DecisionsBySeries) -> TiltSeries:
        """Copy with the decisions of users on its tilts."""
        return self.with_overrides(by_series.get(self.name, ()))

    def with_overrides(self, overrides: Sequence[TiltOverride]) -> TiltSeries:
        """Copy with tilts excluded or kept by users; unknown indices are ignored."""
        if not overrides:
            return self
        by_index = {override.acquisition_index: override for override in overrides}
        tilts = tuple(
            tilt.overridden(by_index[tilt.acquisition_index]) if tilt.acquisition_index in by_index else tilt
            for tilt in self.tilts
        )
        return replace(self, tilts=tilts)
