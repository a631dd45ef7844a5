"""Particles as RELION extracts them: images of every tilt, or volumes made of these ("pseudo-subtomograms").

An image is ``-s^2 C d X``: X is the contrast of the tilt (`particle_images.contrast_image`), C the CTF at the
particle's depth, positive at low frequency, d the amplitude that the dose before the tilt has left, and
``s = cos(tilt)``: RELION expects a signal of strength s, and the noise of tilts becomes alike. The product is
formed in a box, whose corners are masked with a soft circle, and cropped; the grey scale does not depend on
the binning (RELION 5, ``relion_tomo_subtomo``). Without the CTF an image is ``-s X``.

A volume is the sum of the tilts' Fourier transforms where they belong, with trilinear weights, beside it the
sums of ``(s C d)^2`` and of the weights alone. Its axes are given per particle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import add_conjugates
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import (
    BoxLayout,
    SampleFilters,
    contrast_image,
    cut_spectra,
    places_in_tilt,
    usable_tilts,
)
from cryoloom.algorithms.images.fourier import frequencies_rfft
from cryoloom.algorithms.series.dose import dose_weights
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.geometry.tilt_axis import column_slopes
from cryoloom.kernels.slices.fourier_slices import cube_shape, insert_slices
from cryoloom.model import Pixels, Pose, Tilt, TiltSeries

__all__ = ["ParticleCutter", "PseudoSubtomograms", "binned_layout"]

Array = NDArray[np.float64]

_BATCH = 64
"""Particles at once. Chosen: bounds memory."""
_EDGE_PX = 5.0  # RELION's soft edge of the circle


def binned_layout(
    image_pixel_angstrom: float, binning: float, box_px: int, crop_px: int | None = None
) -> BoxLayout:
    """Layout of a box and a crop counted in binned pixels, as RELION's form asks for them.

    The box cut from the images is even, so the binning may come out a little different. Raises DataUnfitError
    for odd sizes and a crop larger than the box.
    """
    crop = box_px if crop_px is None else crop_px
    if box_px % 2 or crop % 2 or not 0 < crop <= box_px:
        raise DataUnfitError(
            f"a box of {box_px} and a crop of {crop} pixels; expected even sizes, the crop within the box"
        )
    cut = 2 * round(0.5 * binning * box_px)
    return BoxLayout(max(cut, box_px), box_px, crop, image_pixel_angstrom)


@dataclass(frozen=True, slots=True)
class PseudoSubtomograms:
    """Volumes of some particles."""

    particles: NDArray[np.int64]
    """Indices of the particles."""
    volumes: NDArray[np.float32]
    """``(n, z, y, x)``, the particle at index ``n // 2``."""
    weights: NDArray[np.float32]
    """``(n, 2 z, y, x // 2 + 1)`` as of `model.ExtractedImages`."""


class ParticleCutter:
    """Cuts the particles of one series.

    images : the series' stack, neither CTF-corrected nor dose-weighted. Raises DataUnfitError for a series
    that is not aligned or has no CTF.
    """

    def __init__(
        self,
        series: TiltSeries,
        images: Pixels,
        positions_xyz_angstrom: Array,
        layout: BoxLayout,
        *,
        max_dose_per_angstrom2: float = math.inf,
        multiply_ctf: bool = True,
    ) -> None:
        self._images, self._positions, self._layout = images, positions_xyz_angstrom, layout
        self._multiply, self._kv = multiply_ctf, series.microscope.voltage_kv
        self._hand = series.handedness.applied or 0.0
        self._filters = SampleFilters(series, layout)
        self.tilts: list[Tilt] = usable_tilts(series, max_dose_per_angstrom2)
        shape = (int(images.shape[1]), int(images.shape[2]))
        if layout.cut_px > min(shape):
            raise DataUnfitError(
                f"the box is {layout.cut_px} pixels of the images of {series.name}, which are {shape}; "
                "choose a smaller box_px",
                series=series.name,
            )
        self._places, self.visible = self._geometry(shape)
        fy, fx = (f.double() / layout.pixel_size_angstrom for f in frequencies_rfft((layout.box_px,) * 2))
        self._squared, self._angle = fy**2 + fx**2, torch.atan2(fy, fx)
        y, x = np.mgrid[: layout.box_px, : layout.box_px] - layout.box_px // 2
        edge = np.clip((0.5 * layout.box_px - np.hypot(y, x)) / _EDGE_PX, 0.0, 1.0)
        self._circle = torch.tensor(0.5 - 0.5 * np.cos(np.pi * edge), dtype=torch.float32)

    def leave_out(self, particles: NDArray[np.bool_]) -> None:
        """Cut nothing of some particles, a mask ``(n,)``."""
        self.visible[particles] = False

    def images(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """Tilt (its place in `tilts`), particles and images ``(n, crop, crop)``; in batches."""
        low = self._layout.box_px // 2 - self._layout.crop_px // 2
        high = low + self._layout.crop_px
        for t in range(len(self.tilts)):
            for batch, boxes, _ in self._boxes(t, np.flatnonzero(self.visible[:, t])):
                yield t, batch, boxes[:, low:high, low:high].numpy()

    def volumes(self, frames: Array, batch: int = _BATCH) -> Iterator[PseudoSubtomograms]:
        """Volumes of all particles that a tilt shows.

        frames : (n, 3, 3), from a volume's axes to the specimen's. batch : particles worked on together; for
        each batch the images are read again.
        """
        layout = self._layout
        # The volume has the crop's side, and the samples stand as near as the box has them.
        plane = HalfPlane.of_box(layout.box_px, layout.pixel_size_angstrom)
        finer = layout.crop_px / layout.box_px
        shown = np.flatnonzero(self.visible.any(axis=1))
        for start in range(0, len(shown), batch):
            mine = shown[start : start + batch]
            data = torch.zeros((len(mine), len(self.tilts), len(plane.kxy)), dtype=torch.complex64)
            squares = torch.zeros(data.shape, dtype=torch.float32)
            for t in range(len(self.tilts)):
                for some, boxes, factor in self._boxes(t, mine[self.visible[mine, t]]):
                    at = torch.tensor(np.searchsorted(mine, some))
                    spectra = torch.fft.rfft2(torch.fft.ifftshift(boxes, dim=(1, 2)))
                    data[at, t] = plane.take(spectra)
                    squares[at, t] = plane.take(factor**2)
            matrices = np.stack([_pose(tilt).matrix * _pose(tilt).magnification for tilt in self.tilts])
            made = [
                self._volume(data[i], squares[i], self.visible[p], matrices @ frames[p] * finer, plane)
                for i, p in enumerate(mine)
            ]
            yield PseudoSubtomograms(
                mine, np.stack([volume for volume, _ in made]), np.stack([weights for _, weights in made])
            )

    def _geometry(self, shape: tuple[int, int]) -> tuple[list[Array], NDArray[np.bool_]]:
        found = [places_in_tilt(_pose(tilt), self._positions, shape, self._layout) for tilt in self.tilts]
        return [place for place, _ in found], np.stack([inside for _, inside in found], axis=-1)

    def _boxes(
        self, t: int, chosen: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, torch.Tensor]]:
        """Particles, their boxes ``(n, box, box)`` before cropping, and the factors ``s C d`` of each."""
        if not len(chosen):
            return
        tilt, layout = self.tilts[t], self._layout
        pose = _pose(tilt)
        image = contrast_image(self._images[tilt.section or 0])
        scale = float(column_slopes(pose.tilt_deg)[0])
        heights = -defocus_change(beam_coordinate(self._positions, pose.matrix[None])[0], self._hand)
        for start in range(0, len(chosen), _BATCH):
            batch = chosen[start : start + _BATCH]
            spectra = cut_spectra(image, self._places[t][batch], layout) * -scale
            factor = torch.ones(spectra.shape, dtype=torch.float32)
            if self._multiply:
                chi = self._filters.phase(self._squared, self._angle, tilt, heights[batch])
                left = dose_weights(self._squared.sqrt().numpy(), tilt.dose_start_per_angstrom2, self._kv)
                factor = (scale * torch.sin(chi) * torch.tensor(left)).float()
                spectra = spectra * factor
            boxes = torch.fft.fftshift(torch.fft.irfft2(spectra, s=(layout.box_px,) * 2), dim=(1, 2))
            yield batch, boxes * self._circle, factor

    def _volume(
        self,
        data: torch.Tensor,
        squares: torch.Tensor,
        visible: NDArray[np.bool_],
        frames: Array,
        plane: HalfPlane,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One particle's volume and weights of its tilts' samples ``(tilt, m)``."""
        crop, seen = self._layout.crop_px, torch.tensor(np.flatnonzero(visible))
        # The transpose of a rotation, magnified: k3 = kx (row 0) + ky (row 1).
        turned = torch.tensor(frames[visible][:, :2], dtype=torch.float32).contiguous()
        longest = float(np.linalg.norm(frames[:, 0], axis=1).max())
        shape = cube_shape(max(0.5 * plane.box_px * longest, 0.5 * crop))
        cube, counts = (torch.zeros(shape, dtype=torch.complex64) for _ in range(2))
        weights, unused = (torch.zeros(shape, dtype=torch.float32) for _ in range(2))
        insert_slices(data[seen], squares[seen], turned, plane.samples, cube, weights)
        ones = torch.ones((len(seen), len(plane.kxy)), dtype=torch.complex64)
        insert_slices(ones, torch.zeros(ones.shape), turned, plane.samples, counts, unused)
        density = (crop / plane.box_px) ** 2  # samples stand closer than the volume's own
        halves = [_fftw_half(one, crop) * density for one in (cube, weights, counts.real.contiguous())]
        # As RELION scales it: unitary transforms, and the root of the binning.
        amplitude = math.sqrt(crop * self._layout.cut_px / self._layout.box_px)
        volume = torch.fft.fftshift(torch.fft.irfftn(halves[0], s=(crop,) * 3)) * amplitude
        return volume.numpy(), torch.cat(halves[1:]).numpy()


def _pose(tilt: Tilt) -> Pose:
    if tilt.pose is None:
        raise DataUnfitError(f"tilt {tilt.acquisition_index} has no pose; run align_series")
    return tilt.pose


def _fftw_half(cube: torch.Tensor, side: int) -> torch.Tensor:
    """A half cube as of `insert_slices`, its plane x = 0 joined, as ``(side, side, side // 2 + 1)``."""
    joined = add_conjugates(cube)
    half = cube.shape[0] // 2
    index = torch.arange(-(side // 2), side // 2)
    inner = joined[index + half][:, index + half][:, :, : side // 2 + 1]
    return torch.fft.ifftshift(inner, dim=(0, 1)).contiguous()
