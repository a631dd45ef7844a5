"""Particles: places in tomograms where a copy of something is, how it is turned, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.average import Average
from cryoloom.model.extracted_images import ExtractedImages
from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.table import Table
from cryoloom.model.tilt import DecisionsBySeries
from cryoloom.model.tilt_series import TiltSeries
from cryoloom.model.tomogram import Tomogram

__all__ = ["ParticleRows", "Particles"]

_POSITION = ("x_angstrom", "y_angstrom", "z_angstrom")
_ROTATION = tuple(f"r{row}{column}" for row in range(3) for column in range(3))
_PRIOR = ("prior_x", "prior_y", "prior_z")


@dataclass(frozen=True, slots=True)
class ParticleRows:
    """Particles as arrays of one length n. What is None is not known of any of them."""

    tomogram: NDArray[np.str_]
    """Name of the tomogram and of its series, ``(n,)``."""
    particle: NDArray[np.int64]
    """Unique in the tomogram, and for ever, ``(n,)``."""
    positions_xyz_angstrom: NDArray[np.float64]
    """From the volume's centre, ``(n, 3)``."""
    rotations: NDArray[np.float64]
    """From the reference to the tomogram, ``(n, 3, 3)``."""
    prior_directions: NDArray[np.float64] | None = None
    """Expected directions of the reference's z axis, unit vectors ``(n, 3)``; NaN if there is none."""
    prior_width_deg: NDArray[np.float64] | None = None
    """Standard deviation of the angle to it, ``(n,)``."""
    surface: NDArray[np.int64] | None = None
    """Number of the surface a particle lies on, ``(n,)``; -1 for none."""
    tube: NDArray[np.int64] | None = None
    """Number of the filament a particle lies on, ``(n,)``; -1 for none."""
    score: NDArray[np.float64] | None = None
    half: NDArray[np.int64] | None = None
    """Half of the set that a particle belongs to, 1 or 2; 0 where it is not decided."""
    class_number: NDArray[np.int64] | None = None
    others: Mapping[str, NDArray[Any]] | None = None
    """Further columns by name, kept as they are."""

    @property
    def n(self) -> int:
        """How many particles."""
        return len(self.particle)

    @property
    def halves(self) -> NDArray[np.int64]:
        """Half of every particle, ``(n,)``: 1 or 2, or 0 for none, also if halves are not decided."""
        return np.zeros(self.n, np.int64) if self.half is None else self.half

    @classmethod
    def of(
        cls, tomogram: str, positions_xyz_angstrom: NDArray[np.float64], **more: NDArray[Any] | None
    ) -> Self:
        """Particles of one tomogram, numbered from 1 and unturned unless ``more`` says otherwise."""
        n = len(positions_xyz_angstrom)
        start: dict[str, Any] = {
            "tomogram": np.full(n, tomogram),
            "particle": np.arange(1, n + 1),
            "positions_xyz_angstrom": np.asarray(positions_xyz_angstrom, dtype=np.float64).reshape(n, 3),
            "rotations": np.broadcast_to(np.eye(3), (n, 3, 3)),
        }
        return cls(**start | more)

    @classmethod
    def from_table(cls, table: Table) -> Self:
        """Read a particle table. Raises DataUnfitError if a column it cannot do without is missing."""
        needed = ("tomogram", "particle", *_POSITION, *_ROTATION)
        if missing := [name for name in needed if name not in table.columns]:
            raise DataUnfitError(f"the particle table lacks the columns {missing}; it has {table.columns}")
        columns = table.read()
        taken = {name: columns.pop(name) for name in needed}
        scalars = {
            name: columns.pop(name)
            for name in ("prior_width_deg", "surface", "tube", "score", "half", "class_number")
            if name in columns
        }
        prior = None
        if all(name in columns for name in _PRIOR):
            prior = np.stack([columns.pop(name) for name in _PRIOR], axis=-1).astype(np.float64)
        return cls(
            tomogram=taken["tomogram"],
            particle=taken["particle"].astype(np.int64),
            positions_xyz_angstrom=np.stack([taken[name] for name in _POSITION], axis=-1).astype(np.float64),
            rotations=np.stack([taken[name] for name in _ROTATION], -1).reshape(-1, 3, 3).astype(np.float64),
            prior_directions=prior,
            others=columns or None,
            **scalars,
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """As columns for `StepContext.new_table`; inverse of `from_table`."""
        n = self.n
        made: dict[str, NDArray[Any]] = {"tomogram": self.tomogram, "particle": self.particle}
        made |= dict(zip(_POSITION, self.positions_xyz_angstrom.reshape(n, 3).T, strict=True))
        made |= dict(zip(_ROTATION, self.rotations.reshape(n, 9).T, strict=True))
        if self.prior_directions is not None:
            made |= dict(zip(_PRIOR, self.prior_directions.reshape(n, 3).T, strict=True))
        for name in ("prior_width_deg", "surface", "tube", "score", "half", "class_number"):
            values = getattr(self, name)
            if values is not None:
                made[name] = values
        return made | dict(self.others or {})

    def take(self, index: NDArray[Any]) -> Self:
        """Those of an index or a mask, in its order."""
        changes: dict[str, Any] = {}
        for one in fields(self):
            values = getattr(self, one.name)
            if isinstance(values, Mapping):
                changes[one.name] = {name: column[index] for name, column in values.items()}
            elif values is not None:
                changes[one.name] = values[index]
        return replace(self, **changes)

    @classmethod
    def joined(cls, parts: Sequence[ParticleRows]) -> Self:
        """One after the other. A column that only some have is filled: NaN, -1, or 0 for half and class."""
        changes: dict[str, Any] = {}
        for one in fields(cls):
            if one.name == "others":
                continue
            values = [getattr(part, one.name) for part in parts]
            if all(value is None for value in values):
                continue
            fill = {"surface": -1, "tube": -1, "half": 0, "class_number": 0}.get(one.name, np.nan)
            example = next(value for value in values if value is not None)
            filled = [
                np.full((part.n, *example.shape[1:]), fill, dtype=example.dtype) if value is None else value
                for part, value in zip(parts, values, strict=True)
            ]
            changes[one.name] = np.concatenate(filled)
        common = set.intersection(*[set(part.others or ()) for part in parts]) if parts else set()
        changes["others"] = {
            name: np.concatenate([(part.others or {})[name] for part in parts]) for name in sorted(common)
        } or None
        return cls(**changes)


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles of one species: of one tomogram, called as it, or a set of several."""

    name: str
    table: Table
    """Columns as in `ParticleRows.columns`."""
    series: tuple[TiltSeries, ...]
    """Those the particles are seen in, each once."""
    tomograms: tuple[Tomogram, ...] = ()
    """Those they were picked in, where there are any; never needed to average."""
    species: str = "particle"
    diameter_angstrom: float | None = None
    template: Average | None = None
    """The map with which they were picked, if there was one; in the frame of the rotations."""
    symmetry: str = "C1"
    """Point group of the species as far as it is known (`geometry.symmetry`)."""
    images: tuple[ExtractedImages, ...] = field(default=(), metadata=ADDED_LATER)
    """Particles cut out of their series, each series once; only other programs need them."""
    pose_doubt: str = field(default="", metadata=ADDED_LATER)
    """Why the step that found these poses gives no resolution; "" if it gives one, or if nothing is known, as
    for imported poses. It stays with the particles until `refine` finds poses that its tests support."""
    common_reference: str = field(default="", metadata=ADDED_LATER)
    """The map that both halves were aligned to, as "the template"; "" if each half had its own, or if nothing
    is known. Such halves agree in the noise of that map. Any refinement of independent halves removes it."""

    @property
    def n_particles(self) -> int:
        """How many particles."""
        return self.table.n_rows

    def rows(self) -> ParticleRows:
        """Read the whole table."""
        return ParticleRows.from_table(self.table)

    def series_of(self, tomogram: str) -> TiltSeries:
        """The series of a tomogram's name. Raises DataUnfitError if the set does not have it."""
        for series in self.series:
            if series.name == tomogram:
                return series
        raise DataUnfitError(
            f"particles of {tomogram!r} have no tilt series; the set has {[s.name for s in self.series]}"
        )

    @property
    def own_series(self) -> None:
        """None: a set may come of several series (`series`)."""
        return None

    def facts(self) -> dict[str, float]:
        """How many particles."""
        return {"n_particles": float(self.n_particles)}

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """Extracted images; those of its series and tomograms were checked when these were made."""
        return tuple(
            PixelSet({"images": one.pixels}, one.pixel_size_angstrom, one.pixels.shape[0])
            for one in self.images
        )

    def with_decisions(self, by_series: DecisionsBySeries) -> Particles:
        """Copy whose series and tomograms have what users decided."""
        return replace(
            self,
            series=tuple(series.with_decisions(by_series) for series in self.series),
            tomograms=tuple(tomogram.with_decisions(by_series) for tomogram in self.tomograms),
        )
