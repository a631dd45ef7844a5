"""Particles cut out of the tilts of a series, for programs that do not cut them themselves."""

from __future__ import annotations

from dataclasses import dataclass

from cryoloom.model.pixels import Pixels
from cryoloom.model.table import Table

__all__ = ["ExtractedImages"]


@dataclass(frozen=True, slots=True)
class ExtractedImages:
    """All particles of one series as images of its tilts, or as volumes made of them.

    Density is positive: images are minus the contrast, so are volumes.
    """

    series: str
    pixels: Pixels
    """Images ``(image, y, x)``; or volumes one on the other, ``(particle * z, y, x)``. A particle's position
    is index ``n // 2``."""
    particles: Table
    """``particle``, ``x_angstrom, y_angstrom, z_angstrom`` where it was cut, and ``f00`` to ``f22``: rotation
    from the axes of a volume to the tomogram, as the volumes were made."""
    sections: Table
    """``particle`` and ``acquisition_index`` of the tilt, of every image, in the order of the particles and
    of the series' tilts; of volumes, the tilts that are in them."""
    pixel_size_angstrom: float
    binning: float
    box_px: int
    """Side in which the CTF was multiplied, before it was cropped."""
    crop_px: int
    ctf_multiplied: bool
    """Whether the images are multiplied by the CTF and by the amplitude left after radiation damage."""
    weights: Pixels | None = None
    """Weights of volumes: half the Fourier transform (x from 0) of each, ``(particle * 2 z, y, x // 2 + 1)``.

    First the sums of the squared factors of its tilts, then the number of samples. Frequency 0 is index 0.
    """

    @property
    def is_volume(self) -> bool:
        """Volumes rather than images."""
        return self.weights is not None
