"""SIRT and SART of a strip: the volume whose projections match the images, by iteration.

``x <- x + relaxation C A^T R (b - A x)`` with the projection A, the images b, ``C`` one over the sum of a
voxel's weights and ``R`` one over a beam's path through the slab. SIRT uses all tilts at once: the residual
falls in every iteration. SART uses subsets of tilts in turn (ordered subsets): it is several times faster at
first, then oscillates. Gilbert, J. Theor. Biol. 36 (1972); Andersen & Kak, Ultrason. Imaging 6 (1984); Censor
& Elfving, SIAM J. Matrix Anal. Appl. 24 (2002).

Strips of rows along the tilt axis are independent. An x-tilt is a shear of rows against height, undone when
the volume is put together: rows ``v = y - z tan(x_tilt)`` of the aligned images are the sheared volume's
rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.tilt_axis import column_slopes, row_slopes
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.kernels.projection.project import add_back_projection, project

__all__ = ["IterativeReconstruction", "plan_iterations"]

_SMALLEST_RELAXATION = 0.05  # chosen: halved down to here where an iteration changes little; then it ends


@dataclass(frozen=True, slots=True)
class IterativeReconstruction:
    """Common data of all strips of a tomogram. Make it with `plan_iterations`."""

    volume_shape: tuple[int, int, int]
    """(z, y, x)."""
    n_columns: int
    columns: torch.Tensor
    """(tilt, 3) float32, for `project`: images have an empty column before the first and after the last."""
    beam_weights: torch.Tensor
    """(tilt,): one over the largest weight of any beam through the slab."""
    subsets: tuple[torch.Tensor, ...]
    """Indices of the tilts used at once; one subset of all for SIRT."""
    n_iterations: int
    relaxation: float
    stop_change: float
    row_slope: float

    @property
    def halo_rows(self) -> int:
        """Rows needed above and below those of the volume."""
        if self.row_slope == 0:
            return 0
        return math.ceil(abs(self.row_slope) * (self.volume_shape[0] // 2 + 1)) + 2

    @property
    def held_row_bytes(self) -> int:
        """Memory kept for rows outside a strip: none."""
        return 0

    @property
    def strip_bytes(self) -> int:
        """Peak for one strip: its images, seen, projected, weighted; volumes, sums and result."""
        n_z, _, n_x = self.volume_shape
        strips = 3 + 2 * math.ceil(self.halo_rows / STRIP_ROWS)
        return 4 * STRIP_ROWS * (6 * len(self.columns) * (self.n_columns + 2) + strips * n_z * n_x)

    def strips(self, aligned: torch.Tensor, first_row: int) -> Iterator[torch.Tensor]:
        """Strips ``(z, up to 32, x)`` from rows ``(tilt, n_rows + 2 halo, column)``, NaN outside images."""
        n_rows = aligned.shape[1] - 2 * self.halo_rows
        solved: dict[int, torch.Tensor] = {}
        for start in range(0, n_rows, STRIP_ROWS):
            height = min(STRIP_ROWS, n_rows - start)
            first, last = start, start + height + 2 * self.halo_rows  # sheared rows needed
            for strip in range(first // STRIP_ROWS, math.ceil(last / STRIP_ROWS)):
                if strip not in solved:
                    rows = aligned[:, strip * STRIP_ROWS : (strip + 1) * STRIP_ROWS]
                    solved[strip] = self.solve(rows)[0]
            solved = {strip: done for strip, done in solved.items() if strip >= first // STRIP_ROWS}
            sheared = torch.cat([solved[strip] for strip in sorted(solved)], dim=1)
            offset = first - min(solved) * STRIP_ROWS
            yield self._unsheared(sheared[:, offset : offset + last - first], height)

    def with_iterations(self, n_iterations: int) -> IterativeReconstruction:
        """The same, without a stop rule, for exactly so many iterations."""
        return replace(self, n_iterations=n_iterations, stop_change=-math.inf)

    def solve(self, rows: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """Sheared strip ``(z, row, x)`` from rows ``(tilt, up to 32, column)``, and the residual's course.

        The residual is the root mean square of ``b - A x``, weighted by R, relative to that of ``b``, before
        each iteration; with subsets each tilt's residual is that at its turn. When it falls by less than
        ``stop_change`` the iterations end; with subsets the relaxation is halved first, down to 0.05.
        """
        images, seen = self._images(rows)
        n_z, _, n_x = self.volume_shape
        columns, beam_weights = self.columns.to(rows.device), self.beam_weights.to(rows.device)
        volume = torch.zeros((n_z, n_x, STRIP_ROWS), device=rows.device)
        parts = [
            (images[tilts], seen[tilts], columns[tilts], beam_weights[tilts], torch.empty_like(images[tilts]))
            for tilts in self.subsets
        ]
        scales = [self._voxel_scale(part[1], part[2]) for part in parts]
        scale_of_data = float((beam_weights[:, None, None] * images**2).sum())
        if scale_of_data == 0:
            return volume.permute(0, 2, 1)[:, : rows.shape[1]], [0.0]
        course: list[float] = []
        relaxation = self.relaxation
        for _ in range(self.n_iterations):
            squared = 0.0
            for (shown, is_seen, lines, weights, residual), scale in zip(parts, scales, strict=True):
                project(volume, lines, residual)
                torch.sub(shown, residual, out=residual).mul_(is_seen)
                squared += float((residual.square().sum(dim=(1, 2)) * weights).sum())
                residual.mul_(weights[:, None, None])
                add_back_projection(residual, lines, relaxation * scale, volume)
            course.append(math.sqrt(squared / scale_of_data))
            if len(course) > 1 and course[-2] - course[-1] < self.stop_change * course[-2]:
                if len(self.subsets) == 1 or relaxation <= _SMALLEST_RELAXATION:
                    break
                relaxation *= 0.5
        return volume.permute(0, 2, 1)[:, : rows.shape[1]], course

    def _images(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows transposed to ``(tilt, column, 32)``, and a mask of valid pixels as 0 and 1; the rest is 0."""
        turned = torch.full((len(rows), self.n_columns + 2, STRIP_ROWS), torch.nan, device=rows.device)
        turned[:, 1:-1, : rows.shape[1]] = rows.transpose(1, 2)
        seen = torch.isfinite(turned)
        return torch.where(seen, turned, 0.0), seen.to(torch.float32)

    def _voxel_scale(self, seen: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """One over the sum of a voxel's weights in the images that show it, ``(z, x)``; 0 where none does.

        The row with the most valid tilts decides: a smaller step is safe where fewer are valid.
        """
        n_z, _, n_x = self.volume_shape
        sums = torch.zeros((n_z, n_x, STRIP_ROWS), device=seen.device)
        add_back_projection(seen, columns, torch.ones((n_z, n_x), device=seen.device), sums)
        most = sums.amax(dim=2)
        # A voxel at the edge of a single image would take all of its residual.
        return torch.where(most > 0.5, 1 / most.clamp(min=0.5), 0.0)

    def _unsheared(self, sheared: torch.Tensor, n_rows: int) -> torch.Tensor:
        """Rows y of the volume from those of the sheared one, by cubic interpolation."""
        if self.row_slope == 0:
            return sheared.contiguous()
        n_z = self.volume_shape[0]
        shift = self.halo_rows - (torch.arange(n_z) - n_z // 2) * -self.row_slope
        first = torch.floor(shift).to(torch.int64)
        part = (shift - first)[:, None, None].to(sheared)
        # Catmull-Rom: passes through the samples.
        weights = (
            ((2 - part) * part - 1) * part / 2,
            ((3 * part - 5) * part**2 + 2) / 2,
            ((4 - 3 * part) * part + 1) * part / 2,
            (part - 1) * part**2 / 2,
        )
        out = torch.zeros((n_z, n_rows, sheared.shape[2]), device=sheared.device)
        for z in range(n_z):
            for i, weight in enumerate(weights):
                start = int(first[z]) - 1 + i
                out[z] += weight[z] * sheared[z, start : start + n_rows]
        return out


def plan_iterations(
    volume_shape: tuple[int, int, int],
    n_columns: int,
    tilt_deg: Sequence[float],
    x_tilt_deg: Sequence[float],
    *,
    n_subsets: int,
    n_iterations: int,
    relaxation: float,
    stop_change: float,
) -> IterativeReconstruction:
    """Geometry and course of the iterations.

    n_columns : of the aligned images, whose centre ``n // 2`` is the axis, as the volume's; an aligned pixel
    is a voxel. n_subsets : 1 for SIRT. Raises DataUnfitError if x-tilts differ by more than half a degree:
    only a common one is a shear.
    """
    n_z, _, n_x = volume_shape
    x_tilts = np.asarray(x_tilt_deg, dtype=np.float64)
    if np.ptp(x_tilts) > 0.5:
        raise DataUnfitError(
            f"x-tilts from {x_tilts.min():.2f} to {x_tilts.max():.2f} deg are not one x-tilt, which "
            "iterations need; use method=wbp"
        )
    per_x, per_z = column_slopes(tilt_deg, float(x_tilts.mean()))
    at_origin = n_columns // 2 + 1 - per_x * (n_x // 2) - per_z * (n_z // 2)
    columns = torch.from_numpy(np.stack([at_origin, per_x, per_z], axis=1).astype(np.float32))
    paths = torch.empty((len(per_x), n_columns + 2, STRIP_ROWS))
    project(torch.ones((n_z, n_x, STRIP_ROWS)), columns, paths)
    return IterativeReconstruction(
        volume_shape=volume_shape,
        n_columns=n_columns,
        columns=columns,
        beam_weights=1 / paths[..., 0].amax(dim=1),
        subsets=tuple(
            torch.from_numpy(one)
            for one in _subsets(np.deg2rad(np.asarray(tilt_deg, dtype=np.float64)), n_subsets)
        ),
        n_iterations=n_iterations,
        relaxation=relaxation,
        stop_change=stop_change,
        row_slope=float(row_slopes(x_tilts.mean())),
    )


def _subsets(tilt: NDArray[np.float64], n_subsets: int) -> list[NDArray[np.int64]]:
    """Every n-th tilt in order of angle, so that each subset spans the range."""
    order = np.argsort(tilt)
    starts = sorted(range(n_subsets), key=lambda i: (i % 2, i))
    return [order[start::n_subsets] for start in starts if start < len(order)]
