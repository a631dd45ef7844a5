"""CTF correction of images whose defocus changes over the field.

An image of a tilted specimen is corrected at several depths, a constant step of defocus apart, and every
pixel is taken between the two nearest: the pixels of one depth are a strip along the tilt axis. Pieces of the
image are transformed with a margin as wide as the point spread of the CTF, so nothing is cut off. Xiong et
al., J. Struct. Biol. 168 (2009), for strips; linear interpolation in depth replaces their
blending.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.model import Ctf, Microscope

__all__ = [
    "Correction",
    "CorrectionMethod",
    "correct_image",
    "depth_phase_rate",
    "linear_depth_step_angstrom",
]

CorrectionMethod = Literal["phase_flip", "multiply", "wiener"]

_INTERPOLATION_ERROR = 0.01  # chosen: largest of the CTF between corrections, a hundredth of its range
_PIECE_PX = 512
"""Chosen: edge of a piece that is transformed at once; smaller pieces spend more on margins."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Factor of an image's spectrum, as a function of the CTF ``c``.

    "phase_flip" is its sign, "multiply" is ``c``, "wiener" is ``c / (c^2 + 1 / snr)``.
    """

    method: CorrectionMethod
    snr: float = 5.0

    def of(self, ctf: torch.Tensor) -> torch.Tensor:
        """Factor, in the shape of the transfer function. Positive at low frequency: contrast is kept."""
        if self.method == "phase_flip":
            return torch.where(ctf < 0, -1.0, 1.0)
        if self.method == "multiply":
            return ctf
        return ctf / (ctf**2 + 1.0 / self.snr)


def depth_phase_rate(resolution_angstrom: float, microscope: Microscope) -> float:
    """Change of the CTF's phase per angstrom of depth, ``pi lambda k^2``, in rad."""
    return math.pi * microscope.wavelength_angstrom / resolution_angstrom**2


def linear_depth_step_angstrom(resolution_angstrom: float, microscope: Microscope) -> float:
    """Step in depth within which the CTF is linear to a hundredth at a resolution.

    ``sin(chi - b w)`` between two values of w a step apart has an error of at most ``(b step)^2 / 8``.
    """
    return math.sqrt(8 * _INTERPOLATION_ERROR) / depth_phase_rate(resolution_angstrom, microscope)


def correct_image(
    image: torch.Tensor,
    pixel_size_angstrom: float,
    ctf: Ctf,
    microscope: Microscope,
    correction: Correction,
    *,
    defocus_loss_angstrom: tuple[float, float, float],
    step_angstrom: float,
) -> torch.Tensor:
    """Image ``(y, x)`` corrected at every pixel's own defocus; its mean is unchanged.

    defocus_loss_angstrom : ``(at_centre, per_x, per_y)``: at X, Y angstrom from the image's centre the
    defocus is the ``ctf``'s minus ``at_centre + per_x X + per_y Y`` (handedness times depth).
    step_angstrom : defocus between two corrections, see `linear_depth_step_angstrom`.
    """
    n_y, n_x = image.shape
    mean = image.mean()
    margin = _margin_px(pixel_size_angstrom, ctf, microscope)
    sizes = [good_fft_size(min(_PIECE_PX, n) + 2 * margin) for n in (n_y, n_x)]
    cores = [size - 2 * margin for size in sizes]
    counts = [math.ceil(n / core) for n, core in zip((n_y, n_x), cores, strict=True)]
    padded = _reflected(
        image - mean, margin, [count * core for count, core in zip(counts, cores, strict=True)]
    )
    loss = _plane((n_y, n_x), pixel_size_angstrom, defocus_loss_angstrom, image.device) / step_angstrom
    corrected = torch.empty_like(image)
    filters: dict[int, torch.Tensor] = {}
    for y in range(0, n_y, cores[0]):
        for x in range(0, n_x, cores[1]):
            inner = (slice(y, min(n_y, y + cores[0])), slice(x, min(n_x, x + cores[1])))
            spectrum = torch.fft.rfft2(padded[y : y + sizes[0], x : x + sizes[1]])
            depth = loss[inner]
            total = torch.zeros_like(depth)
            for step in range(math.floor(float(depth.min())), math.ceil(float(depth.max())) + 1):
                if step not in filters:
                    transfer = ctf_2d(
                        (sizes[0], sizes[1]),
                        pixel_size_angstrom,
                        ctf,
                        microscope,
                        height_angstrom=step * step_angstrom,
                        device=image.device,
                    )
                    filters[step] = correction.of(transfer)
                piece = torch.fft.irfft2(spectrum * filters[step], s=(sizes[0], sizes[1]))
                piece = piece[margin : margin + depth.shape[0], margin : margin + depth.shape[1]]
                total += (1 - (depth - step).abs()).clamp(min=0) * piece
            corrected[inner] = total
    return corrected + mean


def _margin_px(pixel_size_angstrom: float, ctf: Ctf, microscope: Microscope) -> int:
    """Point spread of the correction: ``lambda df k`` at 2/3 of Nyquist, plus a margin; at most 256.

    Signal beyond two thirds of Nyquist that spreads further than that is lost anyway.
    """
    frequency = 1 / (3 * pixel_size_angstrom)
    reach = microscope.wavelength_angstrom * abs(ctf.defocus_angstrom) * frequency / pixel_size_angstrom
    return min(256, math.ceil(reach) + 32)


def _plane(
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
    plane: tuple[float, float, float],
    device: torch.device,
) -> torch.Tensor:
    at_centre, per_x, per_y = plane
    y, x = ((torch.arange(n, device=device) - n // 2) * pixel_size_angstrom for n in shape_yx)
    return at_centre + per_y * y[:, None] + per_x * x[None, :]


def _reflected(image: torch.Tensor, margin: int, whole: list[int]) -> torch.Tensor:
    """Image mirrored at its borders: with a margin before, and after up to the whole and a margin more."""
    for axis, n in enumerate(whole):
        index = torch.arange(-margin, n + margin, device=image.device)
        size = image.shape[axis]
        period = max(1, 2 * size - 2)
        index = (index % period).abs()
        index = torch.where(index >= size, period - index, index)
        image = image.index_select(axis, index)
    return image
