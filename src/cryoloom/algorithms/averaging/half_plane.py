"""Independent frequencies of an image: half of the plane, without the mean, from low to high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["HalfPlane"]


@dataclass(frozen=True, slots=True)
class HalfPlane:
    """Samples ``(m, 2)`` as whole (kx, ky) of a box's rfft2, kx >= 0, ordered by length.

    A band is a prefix. Of each pair k and -k one is there; the mean and the highest frequency are not.
    """

    box_px: int
    pixel_size_angstrom: float
    kxy: NDArray[np.int64]

    @classmethod
    def of_box(
        cls, box_px: int, pixel_size_angstrom: float, finest_angstrom: float | None = None
    ) -> HalfPlane:
        """All samples coarser than a resolution, or within the circle of the highest frequency."""
        if box_px % 2:
            raise ValueError(f"expected an even box, got {box_px}")
        half = box_px // 2
        ky, kx = np.mgrid[-half + 1 : half, 0:half]
        radius = np.hypot(ky, kx)
        highest = half - 0.5
        if finest_angstrom is not None:
            highest = min(highest, box_px * pixel_size_angstrom / finest_angstrom)
        inside = (radius <= highest) & ((kx > 0) | (ky > 0))
        order = np.lexsort((ky[inside], kx[inside], np.round(radius[inside], 9)))
        return cls(box_px, pixel_size_angstrom, np.stack([kx[inside], ky[inside]], axis=-1)[order])

    @property
    def box_angstrom(self) -> float:
        """Side of the box."""
        return self.box_px * self.pixel_size_angstrom

    @property
    def radius(self) -> NDArray[np.float64]:
        """Length of each sample in units of one over the box, ``(m,)``."""
        return np.hypot(self.kxy[:, 0], self.kxy[:, 1])

    @property
    def frequency_per_angstrom(self) -> NDArray[np.float64]:
        """Length of each sample, ``(m,)``."""
        return self.radius / self.box_angstrom

    @property
    def shell(self) -> NDArray[np.int64]:
        """Nearest whole length, ``(m,)``."""
        return np.rint(self.radius).astype(np.int64)

    @property
    def samples(self) -> torch.Tensor:
        """As `kernels.fourier_slices` takes them."""
        return torch.tensor(self.kxy, dtype=torch.float32)

    def n_within(self, finest_angstrom: float) -> int:
        """How many samples are coarser than a resolution."""
        return int(np.searchsorted(self.radius, self.box_angstrom / finest_angstrom, side="right"))

    def take(self, spectra: torch.Tensor) -> torch.Tensor:
        """The samples ``(..., m)`` of spectra ``(..., box, box // 2 + 1)``."""
        rows = torch.tensor(self.kxy[:, 1] % self.box_px, device=spectra.device)
        columns = torch.tensor(self.kxy[:, 0], device=spectra.device)
        return spectra[..., rows, columns]
