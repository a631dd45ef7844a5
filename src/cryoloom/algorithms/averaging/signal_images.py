"""What particles at known poses add to a tilt image: projections with CTF and radiation damage."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import BoxLayout, SampleFilters, places_in_tilt
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.kernels.slices.fourier_slices import take_slices
from cryoloom.model import Tilt, TiltSeries

__all__ = ["SignalImages"]

Array = NDArray[np.float64]

_BATCH = 32
"""Particles at once. Chosen: bounds memory."""


class SignalImages:
    """Renders the particles of one series, as contrast: the image over its mean, less 1.

    density : map ``(box, box, box)`` on the pixels of the layout's box, density positive. The box must hold
    what the defocus spreads; its crop is not used.
    """

    def __init__(
        self,
        series: TiltSeries,
        layout: BoxLayout,
        density: torch.Tensor,
        positions_xyz_angstrom: Array,
        rotations: Array,
        amplitudes: Array,
    ) -> None:
        whole = BoxLayout(layout.cut_px, layout.box_px, layout.box_px, layout.image_pixel_angstrom)
        self._layout, self._positions, self._rotations = whole, positions_xyz_angstrom, rotations
        self._amplitudes, self._hand = amplitudes, series.handedness.applied or 0.0
        self._plane = HalfPlane.of_box(whole.box_px, whole.pixel_size_angstrom)
        self._filters = SampleFilters(series, whole)
        self._cube = cube_of_map(density, float(self._plane.radius[-1]))

    def of_tilt(self, tilt: Tilt, shape_yx: tuple[int, int]) -> NDArray[np.float32]:
        """Contrast ``(y, x)`` that the particles add to a tilt."""
        cut, box, pose = self._layout.cut_px, self._layout.box_px, tilt.pose
        canvas = torch.zeros((shape_yx[0] + 2 * cut, shape_yx[1] + 2 * cut))
        if pose is None:
            return canvas[cut:-cut, cut:-cut].numpy()
        matrix = (pose.matrix * pose.magnification)[None]
        place, _ = places_in_tilt(pose, self._positions, shape_yx, self._layout)
        near = ((place > -cut / 2) & (place < np.array(shape_yx[::-1]) + cut / 2)).all(axis=1)
        heights = -defocus_change(beam_coordinate(self._positions, pose.matrix[None])[0], self._hand)
        kx, ky = (torch.tensor(self._plane.kxy[:, i]) for i in (0, 1))
        on_axis = kx == 0
        chosen = np.flatnonzero(near)
        for start in range(0, len(chosen), _BATCH):
            some = chosen[start : start + _BATCH]
            frames = frames_of(matrix, self._rotations[some]).reshape(-1, 2, 3)
            slices = take_slices(self._cube, frames, self._plane.samples)
            transfer = self._filters.transfer(tilt, heights[some], damage=True)
            amplitude = torch.tensor(self._amplitudes[some])[:, None]
            # Protein is dark where the CTF is positive.
            values = -(amplitude * transfer).float() * slices * (cut / box) ** 2
            whole = np.rint(place[some]).astype(np.int64)
            rest = torch.tensor(place[some] - whole, dtype=torch.float32)
            shift = rest + cut // 2
            turns = (shift[:, :1] * kx + shift[:, 1:] * ky) / cut
            values = values * torch.exp(-2j * torch.pi * turns)
            spectrum = torch.zeros((len(some), cut, cut // 2 + 1), dtype=torch.complex64)
            spectrum[:, ky % cut, kx] = values
            spectrum[:, (-ky[on_axis]) % cut, 0] = values[:, on_axis].conj()
            images = torch.fft.irfft2(spectrum, s=(cut, cut))
            for image, (x, y) in zip(images, whole.tolist(), strict=True):
                top, left = y + cut - cut // 2, x + cut - cut // 2
                canvas[top : top + cut, left : left + cut] += image
        return canvas[cut:-cut, cut:-cut].numpy()
