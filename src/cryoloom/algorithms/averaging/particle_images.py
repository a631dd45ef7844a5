"""Images of particles for the likelihood: CTF-multiplied, whitened, cropped, as spectra.

An image is ``X = -C(k) A(k) e^(-2 pi i k s) + noise`` of variance ``s2(k)`` (protein is dark, C positive
at low frequency, with radiation damage in it). For Gaussian noise the log-likelihood of a model M is
``Re sum(D M*) - 1/2 sum(W |M|^2)`` with ``D = -2 C X / (N s2)`` and ``W = 2 C^2 / (N s2)`` over half of the
plane; N pixels are in the box. Only D and W are stored: the CTF is multiplied, never divided by.

Multiplication brings delocalised signal back, in a large box; the particle is then cropped to a small one.
With this coarse sampling the ripples of C^2 fade where the second copy of the particle falls outside the box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.algorithms.images.fourier import crop_rfft, frequencies_rfft, good_fft_size, phase_ramp_rfft
from cryoloom.algorithms.series.dose import mean_dose_weights
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import beam_coordinate, project
from cryoloom.model import Pixels, Pose, Tilt, TiltSeries

__all__ = [
    "BoxLayout",
    "ParticleImages",
    "SampleFilters",
    "choose_boxes",
    "contrast_image",
    "cut_spectra",
    "delocalisation_angstrom",
    "extract_images",
    "places_in_tilt",
    "usable_tilts",
]

_BATCH = 64
"""Particles at once. Chosen: bounds memory."""
_BYTES_PER_SAMPLE = 12  # complex64 of the data, float32 of the weights
_EDGE_PX = 4.0
"""Chosen: a soft edge of the box, wide enough not to ring."""


@dataclass(frozen=True, slots=True)
class BoxLayout:
    """Sizes of one extraction, all even: cut from the images, after binning, and after cropping."""

    cut_px: int
    box_px: int
    crop_px: int
    image_pixel_angstrom: float

    @property
    def pixel_size_angstrom(self) -> float:
        """After binning."""
        return self.image_pixel_angstrom * self.cut_px / self.box_px

    @property
    def plane(self) -> HalfPlane:
        """Samples of the cropped box."""
        return HalfPlane.of_box(self.crop_px, self.pixel_size_angstrom)


@dataclass(frozen=True, slots=True)
class ParticleImages:
    """Spectra of the particles of one series: the data of their likelihood.

    ``data`` is (particle, tilt, m) complex64, ``weights`` (particle, tilt, m) float32, 0 where a tilt does
    not show the particle. ``matrices`` are the tilts' (tilt, 3, 3) from specimen to image, magnified.
    """

    plane: HalfPlane
    matrices: NDArray[np.float64]
    acquisition: NDArray[np.int64]
    data: NDArray[np.complex64]
    weights: NDArray[np.float32]
    visible: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """How many particles."""
        return len(self.data)

    @staticmethod
    def bytes_of(n_particles: int, n_tilts: int, layout: BoxLayout) -> int:
        """Size of the spectra of so many particles, in memory or in files."""
        return n_particles * n_tilts * len(layout.plane.kxy) * _BYTES_PER_SAMPLE

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays by name, for `of_arrays`."""
        box = np.array([self.plane.box_px, self.plane.pixel_size_angstrom])
        return {
            "box": box,
            "matrices": self.matrices,
            "acquisition": self.acquisition,
            "data": self.data,
            "weights": self.weights,
            "visible": self.visible,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ParticleImages:
        """Inverse of `arrays`; memory-mapped ones stay mapped."""
        rest = {name: array for name, array in arrays.items() if name != "box"}
        plane = HalfPlane.of_box(int(arrays["box"][0]), float(arrays["box"][1]))
        return cls(plane, **rest)

    def batch(self, some: slice, n_used: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Data and weights ``(b, tilt, n_used)`` of some particles, of the lowest frequencies."""
        data = torch.tensor(np.ascontiguousarray(self.data[some, :, :n_used]))
        weights = torch.tensor(np.ascontiguousarray(self.weights[some, :, :n_used]))
        return data, weights

    def take(self, index: NDArray[np.int64]) -> ParticleImages:
        """Those of some particles."""
        return replace(self, data=self.data[index], weights=self.weights[index], visible=self.visible[index])


def delocalisation_angstrom(series: TiltSeries, resolution_angstrom: float) -> float:
    """Delocalisation of a frequency by the CTF: ``lambda defocus k`` at the largest defocus."""
    defocus = max((abs(tilt.ctf.defocus_angstrom) for tilt in series.included if tilt.ctf), default=0.0)
    return series.microscope.wavelength_angstrom * defocus / resolution_angstrom


def choose_boxes(
    diameter_angstrom: float, resolution_angstrom: float, image_pixel_angstrom: float, delocalisation: float
) -> BoxLayout:
    """Boxes for a particle to a resolution: Nyquist a fifth finer than it, the crop 1.5 diameters.

    delocalisation : in angstrom at that resolution, on either side of the particle.
    """
    pixel = max(image_pixel_angstrom, resolution_angstrom / 2.4)
    wanted = max(1.5 * diameter_angstrom, diameter_angstrom + 2 * delocalisation)
    cut = good_fft_size(math.ceil(wanted / image_pixel_angstrom))
    box = min(cut, 2 * round(cut * image_pixel_angstrom / pixel / 2))
    pixel = image_pixel_angstrom * cut / box
    crop = min(box, good_fft_size(math.ceil(1.5 * diameter_angstrom / pixel)))
    return BoxLayout(cut, box, crop, image_pixel_angstrom)


def extract_images(
    series: TiltSeries,
    images: Pixels,
    positions_xyz_angstrom: NDArray[np.float64],
    layout: BoxLayout,
    *,
    max_dose_per_angstrom2: float = math.inf,
    damage: bool = True,
) -> ParticleImages:
    """Cut particles ``(n, 3)`` out of every included tilt of a series.

    images : the series' stack, not CTF-corrected and not dose-weighted. damage : whether radiation damage is
    part of the model; False for images that are dose-weighted already. Raises DataUnfitError for a series
    that is not aligned or has no CTF.
    """
    tilts = usable_tilts(series, max_dose_per_angstrom2)
    plane, hand = layout.plane, series.handedness.applied or 0.0
    n, m = len(positions_xyz_angstrom), len(plane.kxy)
    data = np.zeros((n, len(tilts), m), np.complex64)
    weights = np.zeros((n, len(tilts), m), np.float32)
    visible = np.zeros((n, len(tilts)), bool)
    matrices = []
    filters = _CutFilters(series, layout)
    for t, tilt in enumerate(tilts):
        pose = tilt.pose
        if pose is None or tilt.section is None:
            continue  # `usable_tilts` leaves none of these
        matrices.append(pose.matrix * pose.magnification)
        heights = -defocus_change(beam_coordinate(positions_xyz_angstrom, pose.matrix[None])[0], hand)
        try:
            image = contrast_image(images[tilt.section])
        except DataUnfitError as error:
            raise DataUnfitError(
                f"tilt {tilt.acquisition_index} of {series.name}: {error}", series=series.name
            ) from error
        noise = _noise_power(image, layout)
        place, inside = places_in_tilt(pose, positions_xyz_angstrom, (image.shape[0], image.shape[1]), layout)
        visible[:, t] = inside
        chosen = np.flatnonzero(inside)
        for start in range(0, len(chosen), _BATCH):
            batch = chosen[start : start + _BATCH]
            spectra = cut_spectra(image, place[batch], layout)
            data[batch, t] = filters.data(spectra, tilt, heights[batch], noise, damage=damage)
            weights[batch, t] = filters.weights(tilt, heights[batch], noise, damage=damage)
    return ParticleImages(
        plane,
        np.array(matrices).reshape(-1, 3, 3),
        np.array([tilt.acquisition_index for tilt in tilts]),
        data,
        weights,
        visible,
    )


def places_in_tilt(
    pose: Pose, positions_xyz_angstrom: NDArray[np.float64], shape_yx: tuple[int, int], layout: BoxLayout
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where a tilt shows positions ``(n, 3)``: (x, y) in its pixels ``(n, 2)``, and whether the crop fits."""
    matrix = pose.matrix * pose.magnification
    seen = project(positions_xyz_angstrom, matrix[None], [pose.shift_xy_angstrom])[0]
    if pose.warp is not None:
        seen = seen + pose.warp.displacement(seen)
    place = seen / layout.image_pixel_angstrom + np.array([shape_yx[1] // 2, shape_yx[0] // 2])
    reach = 0.5 * layout.crop_px * layout.pixel_size_angstrom / layout.image_pixel_angstrom
    inside = ((place >= reach) & (place <= np.array(shape_yx[::-1]) - 1 - reach)).all(axis=1)
    return place, inside


def usable_tilts(series: TiltSeries, max_dose_per_angstrom2: float) -> list[Tilt]:
    """Included tilts with an image before a dose. Raises DataUnfitError if one lacks a pose or a CTF."""
    tilts = [t for t in series.included if t.dose_start_per_angstrom2 < max_dose_per_angstrom2]
    tilts = [t for t in tilts if t.section is not None]
    missing = {
        "an alignment (run align_series)": [t.acquisition_index for t in tilts if t.pose is None],
        "a CTF (run estimate_ctf)": [t.acquisition_index for t in tilts if t.ctf is None],
    }
    for what, indices in missing.items():
        if indices:
            raise DataUnfitError(
                f"particles need {what} for every tilt; tilts {indices} of {series.name} have none",
                series=series.name,
            )
    if not tilts:
        raise DataUnfitError(f"{series.name} has no tilt left to extract particles from", series=series.name)
    return tilts


def contrast_image(image: NDArray[np.float32]) -> torch.Tensor:
    """Contrast: the image over its mean, less 1. Counts of tilts differ, contrast of a thin object does not.

    Images without a mean (filtered before) are divided by their standard deviation.
    """
    values = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    if not bool(torch.isfinite(values).all()):
        raise DataUnfitError(
            "the image holds values that are not finite; exclude the tilt or import it again"
        )
    mean, deviation = float(values.mean()), float(values.std())
    if deviation == 0:
        raise DataUnfitError("the image is constant; exclude the tilt")
    return (values - mean) / (mean if mean > deviation else deviation)


def cut_spectra(image: torch.Tensor, place_xy: NDArray[np.float64], layout: BoxLayout) -> torch.Tensor:
    """Spectra ``(n, box, box // 2 + 1)`` of boxes about places (x, y) in pixels; the place is the origin."""
    cut, box = layout.cut_px, layout.box_px
    whole = np.rint(place_xy).astype(int)
    padded = torch.nn.functional.pad(image[None], (cut, cut, cut, cut))[0]
    boxes = torch.stack(
        [
            padded[y + cut - cut // 2 : y + cut + cut // 2, x + cut - cut // 2 : x + cut + cut // 2]
            for x, y in whole
        ]
    )
    spectra = _binned_spectra(boxes, box)
    # From the box's centre, and from whole pixels to the place itself.
    rest = torch.tensor((whole - place_xy)[:, ::-1].copy(), dtype=torch.float32) * (box / cut) - box // 2
    return spectra * phase_ramp_rfft(rest, (box, box))


def _binned_spectra(boxes: torch.Tensor, box: int) -> torch.Tensor:
    """Spectra ``(n, box, box // 2 + 1)`` of boxes ``(n, cut, cut)`` less their means, binned to ``box``."""
    cut = boxes.shape[-1]
    spectra = torch.fft.rfft2(boxes - boxes.mean((1, 2), keepdim=True))
    return crop_rfft(spectra, (cut, cut), (box, box)) if box < cut else spectra


def _noise_power(image: torch.Tensor, layout: BoxLayout) -> NDArray[np.float64]:
    """Power per pixel by shells of the binned box, ``(box // 2 + 1,)``: median over boxes of the image."""
    cut, box = layout.cut_px, layout.box_px
    starts = [
        np.unique(np.linspace(0, max(n - cut, 0), max(2, 2 * n // cut)).astype(int)) for n in image.shape
    ]
    tiles = [image[y : y + cut, x : x + cut] for y in starts[0] for x in starts[1]]
    tiles = [tile for tile in tiles if tile.shape == (cut, cut)]
    if not tiles:
        raise DataUnfitError(
            f"the box of {cut} pixels is larger than the images {tuple(image.shape)}; "
            "choose a smaller diameter or a coarser resolution"
        )
    stack = torch.stack(tiles)
    spectra = _binned_spectra(stack, box)
    power = (spectra.abs() ** 2).double().numpy() / box**2
    fy, fx = frequencies_rfft((box, box))
    shell = np.rint(torch.hypot(fy, fx).numpy() * box).astype(int)
    inside = (shell <= box // 2 - 1) & (shell > 0)
    counts = np.bincount(shell[inside], minlength=box // 2 + 1)
    sums = np.stack([np.bincount(shell[inside], p[inside], minlength=box // 2 + 1) for p in power])
    shells = np.median(sums[:, 1 : box // 2], axis=0) / counts[1 : box // 2]
    return np.concatenate([shells[:1], shells, shells[-1:]])


class SampleFilters:
    """CTF, damage and noise of a series on the samples of a layout."""

    def __init__(self, series: TiltSeries, layout: BoxLayout) -> None:
        self._microscope, self._layout = series.microscope, layout
        kx, ky = torch.tensor(layout.plane.kxy.T / layout.plane.box_angstrom)
        self._squared, self._angle = kx**2 + ky**2, torch.atan2(ky, kx)

    def transfer(self, tilt: Tilt, heights_angstrom: NDArray[np.float64], *, damage: bool) -> torch.Tensor:
        """CTF times damage of every particle, ``(n, m)`` float64; positive at low frequency."""
        chi = self.phase(self._squared, self._angle, tilt, heights_angstrom)
        return torch.sin(chi) * self.left(self._squared, tilt, damage=damage)

    def weights(
        self,
        tilt: Tilt,
        heights_angstrom: NDArray[np.float64],
        noise: NDArray[np.float64],
        *,
        damage: bool,
    ) -> NDArray[np.float32]:
        """Weights ``(n, m)`` of particles at heights over the origin; noise : power by shells of the box."""
        chi = self.phase(self._squared, self._angle, tilt, heights_angstrom)
        squared_ctf = 0.5 - 0.5 * torch.cos(2.0 * chi) * self._ripples(tilt)
        left = self.left(self._squared, tilt, damage=damage)
        n_pixels = float(self._layout.crop_px**2)
        found = 2.0 / n_pixels * squared_ctf * left**2 / self.variance(self._squared, noise)
        return found.float().numpy()

    def phase(
        self, squared: torch.Tensor, angle: torch.Tensor, tilt: Tilt, heights: NDArray[np.float64]
    ) -> torch.Tensor:
        """Phase of the CTF at squared frequencies and directions, ``(n, ...)`` radians."""
        ctf = tilt.ctf
        if ctf is None:
            raise DataUnfitError(f"tilt {tilt.acquisition_index} has no CTF; run estimate_ctf")
        defocus = directional_defocus(
            angle, ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg
        )
        height = torch.tensor(heights).reshape(-1, *([1] * squared.ndim))
        return ctf_phase(squared, defocus - height, self._microscope, ctf.phase_shift_deg)

    def variance(self, squared: torch.Tensor, noise: NDArray[np.float64]) -> torch.Tensor:
        """Power of the noise at squared frequencies."""
        shells = torch.sqrt(squared) * self._layout.box_px * self._layout.pixel_size_angstrom
        found = np.interp(shells.numpy().ravel(), np.arange(len(noise)), noise)
        return torch.tensor(found).reshape(squared.shape)

    def left(self, squared: torch.Tensor, tilt: Tilt, *, damage: bool) -> torch.Tensor:
        """Amplitude that radiation damage leaves, and the tilt's own envelope where one was measured."""
        left = torch.ones_like(squared)
        if damage:
            weights = mean_dose_weights(
                torch.sqrt(squared).numpy(),
                tilt.dose_start_per_angstrom2,
                tilt.dose_end_per_angstrom2,
                self._microscope.voltage_kv,
            )
            left = torch.tensor(weights)
        if tilt.ctf is not None and (tilt.ctf.amplitude, tilt.ctf.b_factor_angstrom2) != (1.0, 0.0):
            left = left * tilt.ctf.amplitude * torch.exp(-0.25 * tilt.ctf.b_factor_angstrom2 * squared)
        return left

    def _ripples(self, tilt: Tilt) -> torch.Tensor:
        """Remaining ripples of C^2: the part of the particle's copy that the crop still contains.

        The copies lie ``(1 / pi) d chi / dk = 2 (lambda defocus k - Cs lambda^3 k^3)`` away; particles fill
        two thirds of the crop.
        """
        defocus = 0.0 if tilt.ctf is None else tilt.ctf.defocus_angstrom
        wavelength, k = self._microscope.wavelength_angstrom, torch.sqrt(self._squared)
        cs = self._microscope.spherical_aberration_mm * 1e7
        apart = (2.0 * (wavelength * defocus * k - cs * wavelength**3 * k**3)).abs()
        crop = self._layout.crop_px * self._layout.pixel_size_angstrom
        return torch.clip((0.5 * crop + crop / 3.0 - apart) / (2.0 * crop / 3.0), 0.0, 1.0)


class _CutFilters(SampleFilters):
    """The same, and operations on whole boxes before they are cropped."""

    def __init__(self, series: TiltSeries, layout: BoxLayout) -> None:
        super().__init__(series, layout)
        fy, fx = (f.double() / layout.pixel_size_angstrom for f in frequencies_rfft((layout.box_px,) * 2))
        self._whole_squared, self._whole_angle = fy**2 + fx**2, torch.atan2(fy, fx)
        self._plane = layout.plane
        y, x = np.mgrid[: layout.crop_px, : layout.crop_px] - layout.crop_px // 2
        edge = np.clip((0.5 * layout.crop_px - np.hypot(y, x)) / _EDGE_PX, 0.0, 1.0)
        self._mask = torch.tensor(0.5 - 0.5 * np.cos(np.pi * edge), dtype=torch.float32)

    def data(
        self,
        spectra: torch.Tensor,
        tilt: Tilt,
        heights_angstrom: NDArray[np.float64],
        noise: NDArray[np.float64],
        *,
        damage: bool,
    ) -> NDArray[np.complex64]:
        """Data ``(n, m)`` of spectra ``(n, box, box // 2 + 1)`` whose origin is at index 0."""
        box, crop = self._layout.box_px, self._layout.crop_px
        squared = self._whole_squared
        chi = self.phase(squared, self._whole_angle, tilt, heights_angstrom)
        factor = -2.0 / crop**2 * torch.sin(chi) * self.left(squared, tilt, damage=damage)
        multiplied = spectra * (factor / self.variance(squared, noise)).float()
        images = torch.fft.fftshift(torch.fft.irfft2(multiplied, s=(box, box)), dim=(1, 2))
        low = box // 2 - crop // 2
        small = images[:, low : low + crop, low : low + crop] * self._mask
        taken = self._plane.take(torch.fft.rfft2(torch.fft.ifftshift(small, dim=(1, 2))))
        return taken.to(torch.complex64).numpy()
