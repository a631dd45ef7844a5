"""Passes of a classification over the series of a set: likelihoods, sums, principal differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.classification import (
    class_log_likelihoods,
    difference_terms,
    insert_classes,
    insert_difference,
)
from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages
from cryoloom.algorithms.averaging.reconstruction import FourierSums, Insertion
from cryoloom.contract.step import StepContext
from cryoloom.formats.pixels.array_files import open_arrays, write_arrays
from cryoloom.model import ParticleRows, TiltSeries
from cryoloom.procedures.particle_passes import extraction, run_part

__all__ = ["ClassPasses", "run_class_part"]

Array = NDArray[np.float64]
Halves = tuple[FourierSums, FourierSums]


@dataclass
class ClassPasses:
    """Particles of all series, cut once at their positions; passes are distributed by series."""

    context: StepContext
    series: tuple[TiltSeries, ...]
    rows: ParticleRows
    layout: BoxLayout
    band_angstrom: float
    max_dose_per_angstrom2: float
    n_visible: NDArray[np.int64] = field(init=False)
    """Tilts that show each particle, ``(n,)``."""

    def __post_init__(self) -> None:
        self._members = [np.flatnonzero(self.rows.tomogram == one.name) for one in self.series]
        self._highest = float(self.layout.plane.radius[-1])
        self._n_orders = 0
        self.n_visible = np.zeros(self.rows.n, np.int64)
        parts = [
            extraction(one, self.rows, mine, self.layout, self.max_dose_per_angstrom2, self._folder(i))
            for i, (one, mine) in enumerate(zip(self.series, self._members, strict=True))
        ]
        for mine, made in zip(self._members, self.context.imap(run_part, parts), strict=True):
            self.n_visible[mine] = made["n_visible"]

    @property
    def half(self) -> NDArray[np.int64]:
        """Half of every particle; 0 leaves it out, ``(n,)``."""
        return self.rows.halves

    def likelihoods(self, classes: Sequence[tuple[torch.Tensor, torch.Tensor]], *, junk: bool) -> Array:
        """Log-likelihoods ``(n, class)``, junk last; each particle is compared with its own half's maps."""
        found = np.zeros((self.rows.n, len(classes) + junk))
        for mine, made in self._run("likelihoods", _named(classes), {"junk": junk}):
            found[mine] = made["log_likelihoods"]
        return found

    def sums(self, probabilities: Array) -> list[Halves]:
        """Sums of both halves of every class, for probabilities ``(n, class)``."""
        total: list[list[Insertion]] = []
        for _, made in self._run("sums", {}, {}, probabilities=probabilities):
            parts = [
                [self._insertion(made, f"{k}_{half}") for half in (0, 1)]
                for k in range(probabilities.shape[1])
            ]
            if not total:
                total = parts
                continue
            for into, other in zip(total, parts, strict=True):
                for one, more in zip(into, other, strict=True):
                    one.add(more)
        return [(first.sums(), second.sums()) for first, second in total]

    def difference_terms(self, mean: torch.Tensor, directions: Sequence[torch.Tensor]) -> tuple[Array, Array]:
        """`classification.difference_terms` for all particles."""
        q = len(directions)
        slope, curvature = np.zeros((self.rows.n, q)), np.zeros((self.rows.n, q, q))
        for mine, made in self._run("terms", _directions(mean, directions), {}):
            slope[mine], curvature[mine] = made["slope"], made["curvature"]
        return slope, curvature

    def difference_sums(
        self, mean: torch.Tensor, before: Sequence[torch.Tensor], coefficients: Array, variance: Array
    ) -> FourierSums:
        """`classification.insert_difference` over all particles."""
        total: Insertion | None = None
        found = self._run(
            "difference", _directions(mean, before), {}, coefficients=coefficients, variance=variance
        )
        for _, made in found:
            part = self._insertion(made, "difference")
            if total is None:
                total = part
            else:
                total.add(part)
        if total is None:
            raise ValueError("there is no series")
        return total.sums()

    def _insertion(self, made: Mapping[str, NDArray[Any]], name: str) -> Insertion:
        insertion = Insertion(self.layout.crop_px, self._highest)
        insertion.data = torch.tensor(made[f"data_{name}"])
        insertion.weights = torch.tensor(made[f"weights_{name}"])
        return insertion

    def _run(
        self, kind: str, maps: Mapping[str, NDArray[Any]], options: Mapping[str, Any], **by_particle: Array
    ) -> Iterator[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]:
        """Members and results by series."""
        self._n_orders += 1
        shared = self.context.scratch() / f"classes_{self._n_orders:03d}"
        write_arrays(shared, dict(maps))
        parts = [
            {
                "kind": kind,
                "folder": self._folder(i),
                "shared": shared,
                "half": self.half[mine],
                "rotations": self.rows.rotations[mine],
                "band": self.band_angstrom,
                **options,
                **{name: values[mine] for name, values in by_particle.items()},
            }
            for i, mine in enumerate(self._members)
        ]
        yield from zip(self._members, self.context.imap(run_class_part, parts), strict=True)

    def _folder(self, i: int) -> Path:
        return self.context.scratch() / f"class_images_{i:04d}"


def run_class_part(part: Mapping[str, Any], context: StepContext) -> dict[str, NDArray[Any]]:
    """One series' part of a pass."""
    images = ParticleImages.of_arrays(open_arrays(Path(part["folder"])))
    shared = open_arrays(Path(part["shared"]))
    highest = float(images.plane.radius[-1])
    cubes = {name: cube_of_map(torch.tensor(np.array(values)), highest) for name, values in shared.items()}
    half, rotations, n_used = part["half"], part["rotations"], images.plane.n_within(part["band"])
    if part["kind"] == "sums":
        made: dict[str, NDArray[Any]] = {}
        for one in (0, 1):
            mine = np.flatnonzero(half == one + 1)
            classes = insert_classes(images.take(mine), rotations[mine], part["probabilities"][mine], highest)
            for k, sums in enumerate(classes):
                made[f"data_{k}_{one}"], made[f"weights_{k}_{one}"] = sums.data.numpy(), sums.weights.numpy()
        return made
    if part["kind"] == "likelihoods":
        found = np.zeros((images.n, len(cubes) // 2 + part["junk"]))
        for one in (0, 1):
            mine = np.flatnonzero(half == one + 1)
            own = [cubes[f"class_{k:03d}_{one}"] for k in range(len(cubes) // 2)]
            found[mine] = class_log_likelihoods(
                images.take(mine), own, rotations[mine], n_used, junk=part["junk"]
            )
        return {"log_likelihoods": found}
    directions = [cubes[name] for name in sorted(cubes) if name != "mean"]
    if part["kind"] == "terms":
        slope, curvature = difference_terms(images, cubes["mean"], directions, rotations, n_used)
        return {"slope": slope, "curvature": curvature}
    mine = np.flatnonzero(half > 0)
    sums = insert_difference(
        images.take(mine),
        cubes["mean"],
        directions,
        rotations[mine],
        part["coefficients"][mine],
        part["variance"][mine],
        highest,
    )
    return {"data_difference": sums.data.numpy(), "weights_difference": sums.weights.numpy()}


def _named(classes: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, NDArray[Any]]:
    return {
        f"class_{k:03d}_{half}": density.numpy()
        for k, halves in enumerate(classes)
        for half, density in enumerate(halves)
    }


def _directions(mean: torch.Tensor, directions: Sequence[torch.Tensor]) -> dict[str, NDArray[Any]]:
    named = {f"direction_{i:03d}": one.numpy() for i, one in enumerate(directions)}
    return {"mean": mean.numpy(), **named}
