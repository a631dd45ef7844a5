"""Evaluation of two half maps: curves, the supported resolution, and whether the poses are meaningful."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.reconstruction import FourierSums
from cryoloom.algorithms.averaging.shell_correlation import (
    corrected_correlation,
    first_fall,
    non_axial,
    non_radial,
    randomised_phases,
    roundest_centre,
    shell_correlation,
    soft_sphere,
)
from cryoloom.model import no_resolution

__all__ = [
    "HalfMaps",
    "Verdict",
    "finer_than_start",
    "half_curves",
    "judged",
    "particle_mask",
    "pose_evidence",
    "verdict",
    "without_doubt",
]

Array = NDArray[np.float64]

_RANDOMISE_BELOW, _THRESHOLD = 0.8, 0.143  # RELION (Chen et al., 2013); Rosenthal & Henderson (2003)
#: Random orientations give a non-radial correlation of 0.0 to 0.2 (docs/explanation/averaging.md).
_LEAST_EVIDENCE = 0.1
#: Chosen: the mean over the last third of the shells must be above the threshold by two standard deviations.
#: A mean is used because single shells of a symmetric map have few independent values.
_TAIL, _DEVIATIONS = 1.0 / 3.0, 2.0
#: Chosen: the first shells describe the envelope of the particle and support no resolution.
_LEAST_SUPPORTED_SHELL = 3
#: Chosen: a resolution within a twentieth of the first low-pass is that of the first reference.
_OF_START = 0.95


def particle_mask(n: int, voxel_angstrom: float, diameter_angstrom: float) -> torch.Tensor:
    """Soft sphere around a particle ``(n, n, n)``: a tenth more than its radius, with a soft edge."""
    radius = 0.5 * diameter_angstrom / voxel_angstrom
    edge = max(3.0, 0.2 * radius)
    return soft_sphere(n, min(1.1 * radius, n / 2 - edge - 1), edge)


@dataclass(frozen=True, slots=True)
class HalfMaps:
    """Two independent maps without a prior, with or without imposed symmetry."""

    maps: tuple[torch.Tensor, torch.Tensor]
    voxel_angstrom: float
    n_shells: int
    """Shells with data; higher shells contain only the effect of the mask."""

    @classmethod
    def of_sums(cls, sums: tuple[FourierSums, FourierSums], voxel_angstrom: float) -> HalfMaps:
        """Half maps from the sums of both halves."""
        n_shells = min(int(sums[0].highest), sums[0].box_px // 2 - 1)
        return cls((sums[0].map(), sums[1].map()), voxel_angstrom, n_shells)

    @property
    def box_angstrom(self) -> float:
        """Side of the maps."""
        return self.maps[0].shape[0] * self.voxel_angstrom

    def correlation(self, mask: torch.Tensor | None = None) -> Array:
        """Correlation in the shells with data, within a mask."""
        first, second = self.maps if mask is None else (self.maps[0] * mask, self.maps[1] * mask)
        return shell_correlation(first, second)[: self.n_shells + 1]

    def non_radial_correlation(self, mask: torch.Tensor) -> Array:
        """The same correlation after subtraction of the radial means."""
        return self.pose_correlation(mask, about_axis=False)

    def pose_correlation(self, mask: torch.Tensor, *, about_axis: bool) -> Array:
        """The same correlation after subtraction of the mean that random poses leave: about z, or radial.

        about_axis : particles have known directions, so that random poses are random about these only.
        """
        radius = float((mask.numpy() > 0).sum() * 3.0 / (4.0 * math.pi)) ** (1 / 3)
        # Spherical shells that are aligned to a map that is not round move away from its centre.
        centre = roundest_centre((self.maps[0] + self.maps[1]) * mask, radius, about_axis=about_axis)
        part = non_axial if about_axis else non_radial
        left = [part(half * mask, radius, centre) for half in self.maps]
        return shell_correlation(left[0], left[1])[: self.n_shells + 1]


def pose_evidence(correlation: Array, finest_shell: int) -> float:
    """Mean non-radial correlation from shell 2 to the finest shell."""
    return float(np.mean(correlation[2 : max(4, finest_shell + 1)]))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Curves over shells by name, and the resolution they support."""

    curves: dict[str, Array]
    resolution_angstrom: float | None
    note: str


def half_curves(halves: HalfMaps, mask: torch.Tensor, rng: np.random.Generator) -> dict[str, Array]:
    """Fourier shell correlations: unmasked, masked, with random phases, and corrected for the mask."""
    masked, unmasked = halves.correlation(mask), halves.correlation()
    below = np.flatnonzero(masked[1:] < _RANDOMISE_BELOW) + 1
    start = int(below[0]) if len(below) else len(masked)
    curves = {"unmasked": unmasked, "masked": masked}
    corrected = masked
    if start < len(masked) - 3:
        random = [randomised_phases(half, start, rng) * mask for half in halves.maps]
        randomised = shell_correlation(random[0], random[1])[: len(masked)]
        curves["randomised"] = randomised
        corrected = corrected_correlation(masked, randomised, start)
    return curves | {"corrected": corrected}


def judged(curves: dict[str, Array], box_angstrom: float, independent: float = 1.0) -> Verdict:
    """Resolution of the corrected curve, as far as the pose-dependent, non-radial and null curves support it.

    independent : fraction of independent values in a shell, which mask and symmetry reduce.
    """
    corrected = curves["corrected"]
    resolution = first_fall(corrected, _THRESHOLD, box_angstrom)
    if not math.isfinite(resolution):
        return Verdict(curves, None, "the halves do not agree at any resolution")
    shell = int(box_angstrom / resolution)
    evidence = pose_evidence(curves["non-radial"], shell)
    without = pose_evidence(curves["null"], shell) if "null" in curves else 0.0
    if evidence < max(_LEAST_EVIDENCE, without + _LEAST_EVIDENCE):
        return Verdict(
            curves,
            None,
            "the halves agree only in what does not depend on orientation: their non-radial correlation is "
            f"{evidence:.2f}, and {without:.2f} with orientations exchanged among the particles",
        )
    if "pose-dependent" in curves:
        supported = _supported(curves["pose-dependent"], shell, independent)
        if supported is None:
            return Verdict(
                curves,
                None,
                f"the halves agree to {resolution:.1f} A, but at no resolution in what depends on the poses: "
                "any poses would give this agreement",
            )
        if supported < shell:
            return Verdict(
                curves,
                box_angstrom / supported,
                f"the halves agree to {resolution:.1f} A, but finer than {box_angstrom / supported:.1f} A "
                "only in what does not depend on the poses",
            )
    note = ""
    if not np.any(corrected[1:] < _THRESHOLD):
        note = "limited by the pixel size: the halves agree to the last shell"
    return Verdict(curves, resolution, note)


def finer_than_start(found: Verdict, lowpass_angstrom: float) -> Verdict:
    """The same verdict, without a resolution if it is not finer than the first reference of both halves.

    Noise that is aligned to a reference resembles this reference in both halves.
    """
    resolution = found.resolution_angstrom
    if resolution is None or resolution < _OF_START * lowpass_angstrom:
        return found
    return replace(
        found,
        resolution_angstrom=None,
        note=f"the halves agree to {resolution:.1f} A, no finer than the first reference of "
        f"{lowpass_angstrom:.0f} A that both began with; begin with a coarser one to see what the particles "
        "show by themselves",
    )


def without_doubt(found: Verdict, doubt: str) -> Verdict:
    """The same verdict, without a resolution if the step that found the poses gives none.

    Halves alone do not show this: the tests need the search for the poses, which is over.
    """
    if not doubt:
        return found
    return replace(found, resolution_angstrom=None, note=no_resolution(doubt))


def _supported(turned: Array, shell: int, independent: float) -> int | None:
    """Last shell, at most ``shell``, to which the pose-dependent part agrees; None if there is none."""
    for last in range(min(shell, len(turned) - 1), _LEAST_SUPPORTED_SHELL - 1, -1):
        tail = np.arange(max(1, round((1.0 - _TAIL) * last)), last + 1)
        # Half a shell has 2 pi s^2 complex values; a correlation of n complex values has the variance 1 / 2n.
        deviation = math.sqrt(float((1.0 / (4.0 * math.pi * tail**2 * independent)).mean()) / len(tail))
        if float(turned[tail].mean()) >= _THRESHOLD + _DEVIATIONS * deviation:
            return last
    return None


def verdict(
    halves: HalfMaps,
    unsymmetrised: HalfMaps,
    null: HalfMaps | None,
    mask: torch.Tensor,
    rng: np.random.Generator,
    *,
    about_axis: bool = False,
    order: int = 1,
) -> Verdict:
    """Resolution of masked halves after phase randomisation, given only if the poses are meaningful.

    null : halves of the same images with orientations exchanged among the particles. about_axis : particles
    have known directions (the z axis). The part that is constant about z then does not depend on the poses
    and is subtracted in the non-radial and null curves. order : of the symmetry imposed on the halves.
    """
    curves = half_curves(halves, mask, rng)
    curves["pose-dependent"] = halves.pose_correlation(mask, about_axis=about_axis)
    curves["non-radial"] = unsymmetrised.pose_correlation(mask, about_axis=about_axis)
    if null is not None:
        curves["null"] = null.pose_correlation(mask, about_axis=about_axis)
    return judged(curves, halves.box_angstrom, float((mask**2).mean()) / order)
