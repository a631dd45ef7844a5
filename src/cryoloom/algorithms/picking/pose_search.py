"""Agreement of candidates with a template at every rotation, by one matrix product.

Only the direction-dependent part distinguishes rotations and species, and it is a few per cent of a shell. So
each rotated template is made orthogonal, in the metric of the images' information, to everything that a
candidate's unknown radial profile and a small shift could explain: ``A' = A - c G^-1 phi`` with radial bumps
and the profile's three derivatives as phi, ``G = <phi, W phi>``, ``c = <A, W phi>``, and W the point spread
of the matched-filter tomogram. Errors of envelope, mask, CTF and centre then cancel to first order. The
amplitude is that of the candidate's radial part.

W is that of the candidate's own place: where gold hides it in some tilts, or they do not show it, a ball
looks like a disc, and under the W of all tilts that would be taken for a direction. Tilts are taken in groups
of neighbouring angles, ``W = sum over groups of shown_g W_g``, and so are G and c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

from cryoloom.algorithms.picking.template_energy import (
    DirectionalPower,
    RotationSet,
    TemplateEnergy,
    directional_power,
    template_energy,
)
from cryoloom.algorithms.picking.templates import Template
from cryoloom.geometry.orientation_grid import rotation_grid

__all__ = [
    "SHIFTS_VOXELS",
    "PoseSearch",
    "SearchResult",
    "Windows",
    "cut_windows",
    "plan_pose_search",
    "shift_steps",
    "spline_coefficients",
]

Array = NDArray[np.float64]

SHIFTS_VOXELS = (-0.5, 0.0, 0.5)
"""Chosen: tried along each axis about a candidate's centre."""
_CALIBRATION_STEP_DEG = 90.0
"""Chosen: at these 20 rotations E is computed exactly."""
_ROTATIONS_AT_ONCE = 256
_VALUES_AT_ONCE = 50_000_000
"""Chosen: bound memory."""
_SPLINE_REACH = 3
"""Coefficients to either side that a cubic spline needs, and one more for the shifts."""
_PADDING = 4
"""Voxels of 0 about the volume's coefficients: a window may end at the volume's faces."""
_RIDGE = 1e-6
"""Chosen: keeps nearly equal templates solvable, a millionth of their power."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The matched-filter tomogram about candidates, within a template's reach."""

    values: torch.Tensor
    """``(n, shift, voxel)`` float32."""
    explained: torch.Tensor
    """The part of the values that the nuisances explain, by group of tilts.

    ``- shown_g G^-1 <phi, values>``, ``(n, shift, g m)`` float32. Its product with the c of a template is
    added to that with the template.
    """
    shifts_zyx_voxels: Array
    """``(shift, 3)``."""
    amplitude: torch.Tensor
    """Amplitude of the radial part, ``(n,)`` float32."""
    log_shift: torch.Tensor
    """Log-likelihood of each shift from the radial part, less the best one's, ``(n, shift)`` float32."""
    shown: torch.Tensor
    """Information of each group of tilts over that at the volume's centre, ``(n, g)`` float32."""
    energy: torch.Tensor
    """The same of all tilts, ``(n,)`` float32."""
    root: torch.Tensor
    """A matrix whose square ``root^T root`` is ``G^-1``, ``(n, m, m)`` float32."""

    def take(self, index: NDArray[np.int64] | slice) -> Windows:
        """Those of some candidates; of a slice without a copy."""
        some = index if isinstance(index, slice) else torch.from_numpy(index)
        return replace(
            self,
            values=self.values[some],
            explained=self.explained[some],
            amplitude=self.amplitude[some],
            log_shift=self.log_shift[some],
            shown=self.shown[some],
            energy=self.energy[some],
            root=self.root[some],
        )

    def energies(self, whole: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        """E of turned templates freed of the nuisances, at each candidate, ``(n, rotation)``.

        whole : E of the templates as they are, at the volume's centre. shared : their c, ``(rotation, g m)``.
        """
        by_group = shared.reshape(len(shared), self.shown.shape[1], -1)
        own = torch.einsum("ng,rgm->nrm", self.shown, by_group)
        lost = (own @ self.root.transpose(1, 2)).square().sum(dim=2)
        return (whole * self.energy[:, None] - lost).clamp(min=0)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Agreement of each candidate with one template, ``(n,)``."""

    evidence: NDArray[np.float64]
    """Log of the mean likelihood over rotations and shifts, relative to the radial part alone, in nats."""
    rotation: NDArray[np.int64]
    """Index of the best rotation."""
    shift: NDArray[np.int64]
    """Index of the best shift."""
    significance: NDArray[np.float64]
    """``S / sqrt(E)`` of the part that depends on direction, at the best."""


@dataclass(frozen=True, slots=True)
class PoseSearch:
    """Common data of all templates and candidates of a tomogram. Make it by `plan_pose_search`."""

    radial: torch.Tensor
    """The templates' common radial part, ``(k, k, k)``."""
    inside: torch.Tensor
    """Which voxels are compared, ``(k, k, k)``."""
    nuisances: torch.Tensor
    """phi, ``(m, voxel)`` float32."""
    in_metric: torch.Tensor
    """W phi of every group of tilts, ``(g m, voxel)`` float32."""
    gram: torch.Tensor
    """G of every group, ``(g, m, m)`` float64."""
    spread_rfft: torch.Tensor
    """W of all tilts on the doubled box, as its real transform."""
    information: DirectionalPower
    """W by direction of frequency."""
    radial_energies: torch.Tensor
    """E of the radial part at the volume's centre, by group, ``(g,)`` float32."""

    def offsets(self) -> NDArray[np.int64]:
        """Compared voxels from the centre, ``(voxel, 3)`` as z, y, x."""
        return np.argwhere(self.inside.numpy()) - self.inside.shape[0] // 2

    def search(self, windows: Windows, template: Template, rotations: RotationSet) -> SearchResult:
        """Compare all candidates with a template at every rotation."""
        return self._search(windows, template, rotations, self._energy_of(template))

    def _search(
        self, windows: Windows, template: Template, rotations: RotationSet, energy_of: TemplateEnergy
    ) -> SearchResult:
        n, n_shifts = windows.values.shape[:2]
        total = torch.full((n,), -math.inf)
        best = torch.full((n,), -math.inf)
        rotation, shift = torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long)
        significance = torch.zeros(n)
        candidates_at_once = max(1, _VALUES_AT_ONCE // (n_shifts * _ROTATIONS_AT_ONCE))
        for first, turned, shared, energy in self._templates(template, rotations, energy_of):
            for start in range(0, n, candidates_at_once):
                some = slice(start, start + candidates_at_once)
                own = windows.take(some)
                product = own.values.flatten(0, 1) @ turned.T + own.explained.flatten(0, 1) @ shared.T
                product = product.reshape(-1, n_shifts, len(energy))
                a = own.amplitude[:, None, None]
                local = own.energies(energy, shared)[:, None]
                likelihood = a * product - 0.5 * a**2 * local + own.log_shift[:, :, None]
                flat = likelihood.flatten(1)
                total[some] = torch.logaddexp(total[some], torch.logsumexp(flat, dim=1))
                high, at = flat.max(dim=1)
                better = high > best[some]
                best[some] = torch.maximum(best[some], high)
                n_here = turned.shape[0]
                rotation[some] = torch.where(better, first + at % n_here, rotation[some])
                shift[some] = torch.where(better, at // n_here, shift[some])
                found = (product / local.clamp(min=1e-12).sqrt()).flatten(1).gather(1, at[:, None])[:, 0]
                significance[some] = torch.where(better, found, significance[some])
        evidence = total.double() - math.log(n_shifts * len(rotations))
        return SearchResult(evidence.numpy(), rotation.numpy(), shift.numpy(), significance.double().numpy())

    def refine(self, windows: Windows, template: Template, rotations: Array) -> tuple[Array, Array, Array]:
        """Best of each candidate's own rotations ``(n, n_r, 3, 3)``: rotation, shift as zyx, significance."""
        energy_of = self._energy_of(template)
        found = [
            self._search(windows.take(np.array([i])), template, RotationSet.of(own), energy_of)
            for i, own in enumerate(rotations)
        ]
        index = np.array([result.rotation[0] for result in found], dtype=int)
        shifts = windows.shifts_zyx_voxels[[int(result.shift[0]) for result in found]]
        heights = np.array([result.significance[0] for result in found])
        return rotations[np.arange(len(rotations)), index], shifts.reshape(-1, 3), heights

    def _templates(
        self, template: Template, rotations: RotationSet, energy_of: TemplateEnergy
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Index of the first, templates ``(some, voxel)``, their c ``(some, g m)``, their E ``(some,)``."""
        energies = torch.from_numpy(energy_of.at(rotations)).float()
        for first in range(0, len(rotations), _ROTATIONS_AT_ONCE):
            some = slice(first, first + _ROTATIONS_AT_ONCE)
            turned = (template.rotated(rotations.matrices[some]) - self.radial)[:, self.inside]
            yield first, turned, turned @ self.in_metric.T, energies[some]

    def _energy_of(self, template: Template) -> TemplateEnergy:
        """E of the directional part at any rotation, right on average over some that are computed."""
        unturned = template.rotated(np.eye(3)[None])[0] - self.radial
        shape = template_energy(unturned.numpy(), self.information)
        some = rotation_grid(_CALIBRATION_STEP_DEG)
        turned = template.rotated(some) - self.radial
        exact = (turned * _in_metric(turned, self.spread_rfft)).sum(dim=(1, 2, 3))
        expected = float(shape.at(RotationSet.of(some)).mean())
        return shape.scaled(float(exact.mean()) / expected if expected > 0 else 0.0)


def plan_pose_search(radial: Template, point_spreads: Array) -> PoseSearch:
    """Nuisances and metric.

    radial : the templates' radial part. point_spreads : (g, 2 k, 2 k, 2 k) of the matched-filter tomogram for
    its box k, centre at index k, of every group of tilts.
    """
    k = radial.box
    profile = radial.rotated(np.eye(3)[None])[0]
    at = torch.arange(k, dtype=torch.float32) - k // 2
    distance = torch.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    reach = radial.radius_angstrom / radial.voxel_size_angstrom
    bumps = [(1 - (distance - shell).abs()).clamp(min=0) for shell in range(math.floor(reach) + 1)]
    nuisances = torch.stack([*bumps, *torch.gradient(profile)])
    inside = distance <= reach + 0.5
    spreads = torch.fft.ifftshift(torch.from_numpy(point_spreads).float(), dim=(1, 2, 3))
    spread_rffts = torch.fft.rfftn(spreads, dim=(1, 2, 3))
    in_metric = torch.stack([_in_metric(nuisances, one) for one in spread_rffts])
    whole = spreads.sum(dim=0)
    return PoseSearch(
        radial=profile,
        inside=inside,
        nuisances=nuisances[:, inside],
        in_metric=in_metric[:, :, inside].flatten(0, 1),
        gram=torch.einsum("mv,gnv->gmn", nuisances.flatten(1).double(), in_metric.flatten(2).double()),
        spread_rfft=spread_rffts.sum(dim=0),
        information=directional_power(torch.fft.fftn(whole).real.numpy(), 2 * k),
        radial_energies=torch.stack(
            [(profile * _in_metric(profile[None], r)[0]).sum() for r in spread_rffts]
        ),
    )


def cut_windows(index_zyx: Array, shown: Array, search: PoseSearch, coefficients: torch.Tensor) -> Windows:
    """The tomogram about places ``(n, 3)``, real-valued, at small shifts, by cubic splines.

    shown : information of each group of tilts over that at the volume's centre, ``(n, g)``. coefficients : of
    the volume, by `spline_coefficients`. Places must be a box's half inside the volume.
    """
    k = search.inside.shape[0]
    n, side = len(index_zyx), k + 2 * _SPLINE_REACH
    base = np.floor(index_zyx).astype(int)
    cubes = np.empty((n, side, side, side), dtype=np.float32)
    for i, corner in enumerate(base - k // 2 - _SPLINE_REACH + _PADDING):
        cubes[i] = coefficients[tuple(slice(c, c + side) for c in corner)].numpy()
    weights = _spline_matrices(index_zyx - base, k, side)
    half = torch.einsum("nazi,nijl->nazjl", weights[:, 0], torch.from_numpy(cubes))
    most = torch.einsum("nbyj,nazjl->nabzyl", weights[:, 1], half)
    values = torch.einsum("ncxl,nabzyl->nabczyx", weights[:, 2], most)
    windows = values.reshape(n, -1, k, k, k)[:, :, search.inside].contiguous()
    radial = windows @ search.radial[search.inside]
    groups = torch.from_numpy(shown).float()
    energy = groups @ search.radial_energies
    amplitude = radial.amax(dim=1).clamp(min=0) / energy.clamp(min=1e-12)
    log_shift = amplitude[:, None] * (radial - radial.amax(dim=1, keepdim=True))
    root = _inverse_roots(torch.einsum("ng,gkl->nkl", groups.double(), search.gram))
    explained = (windows @ search.nuisances.T) @ root.transpose(1, 2) @ root
    by_group = -explained[:, :, None] * groups[:, None, :, None]
    relative = energy / search.radial_energies.sum()
    return Windows(windows, by_group.flatten(2), shift_steps(), amplitude, log_shift, groups, relative, root)


def _inverse_roots(gram: torch.Tensor) -> torch.Tensor:
    """Matrices R ``(n, m, m)`` float32 with ``R^T R`` the inverse of each of ``(n, m, m)``, made regular."""
    scale = torch.diagonal(gram, dim1=1, dim2=2).clamp(min=1e-30).sqrt()
    ridge = _RIDGE * torch.eye(gram.shape[1], dtype=gram.dtype)
    lower = torch.linalg.cholesky(gram / (scale[:, :, None] * scale[:, None]) + ridge)
    identity = torch.eye(gram.shape[1], dtype=gram.dtype).expand_as(gram)
    inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
    return (inverse / scale[:, None]).float()


def shift_steps() -> Array:
    """Shifts ``(27, 3)`` as z, y, x in voxels, in the order of windows."""
    return np.stack(np.meshgrid(*[SHIFTS_VOXELS] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def spline_coefficients(volume: torch.Tensor) -> torch.Tensor:
    """Cubic B-spline coefficients of a volume, float32, with `_PADDING` voxels of 0 about them."""
    coefficients = spline_filter(volume.cpu().numpy(), order=3, output=np.float32, mode="mirror")
    return torch.from_numpy(np.pad(coefficients, _PADDING))


def _spline_matrices(part: Array, k: int, side: int) -> torch.Tensor:
    """Matrices ``(n, axis, shift, k, side)`` that sample a row of coefficients at a fraction and shifts."""
    at = part[:, :, None] + np.asarray(SHIFTS_VOXELS)
    place = at[..., None] + np.arange(k) + _SPLINE_REACH
    distance = np.abs(place[..., None] - np.arange(side))
    near = 2 / 3 - distance**2 + 0.5 * distance**3
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return torch.from_numpy(np.where(distance < 1, near, far).astype(np.float32))


def _in_metric(densities: torch.Tensor, spread_rfft: torch.Tensor) -> torch.Tensor:
    """W times densities ``(n, k, k, k)``."""
    k = densities.shape[-1]
    shape = (2 * k, 2 * k, 2 * k)
    spectra = torch.fft.rfftn(densities, s=shape, dim=(1, 2, 3))
    return torch.fft.irfftn(spectra * spread_rfft, s=shape, dim=(1, 2, 3))[:, :k, :k, :k]
