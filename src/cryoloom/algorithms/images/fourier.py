"""Fourier transforms of images: shifting, cropping and filtering, with the centre index ``n // 2`` kept.

Spectra are unshifted ``rfft2`` of torch, default normalisation, ``(..., y, x // 2 + 1)``.
"""

from __future__ import annotations

import math

import torch

__all__ = [
    "centred_rfft",
    "crop_rfft",
    "fourier_resize",
    "frequencies_rfft",
    "good_fft_size",
    "phase_ramp_rfft",
    "radial_frequency_rfft",
    "require_crop",
    "shift_images",
]


def good_fft_size(n: int) -> int:
    """Smallest even size of at least ``n`` whose only factors are 2, 3 and 5."""
    size = n + n % 2
    while not _is_smooth(size):
        size += 2
    return size


def _is_smooth(n: int) -> bool:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n == 1


def frequencies_rfft(
    shape_yx: tuple[int, int], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frequencies in cycles per pixel that broadcast over an rfft2: ``(y, 1)`` and ``(1, x // 2 + 1)``."""
    n_y, n_x = shape_yx
    return torch.fft.fftfreq(n_y, device=device)[:, None], torch.fft.rfftfreq(n_x, device=device)[None, :]


def radial_frequency_rfft(shape_yx: tuple[int, int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Length of the frequency vector in cycles per pixel, ``(y, x // 2 + 1)`` float32."""
    frequency_y, frequency_x = frequencies_rfft(shape_yx, device)
    return torch.hypot(frequency_y, frequency_x)


def phase_ramp_rfft(shifts_yx_px: torch.Tensor, shape_yx: tuple[int, int]) -> torch.Tensor:
    """Factors that move images by ``shifts_yx_px`` ``(..., 2)``, ``(..., y, x // 2 + 1)`` complex64.

    Multiplying the rfft2 of an image by it moves content towards larger indices for positive shifts.
    """
    frequency_y, frequency_x = frequencies_rfft(shape_yx, shifts_yx_px.device)
    shifts = shifts_yx_px.to(torch.float32)
    # exp(-2 pi i (fy sy + fx sx)) as an outer product: two short exponentials instead of one per pixel.
    ramp_y = torch.exp(-2j * math.pi * frequency_y * shifts[..., 0, None, None])
    ramp_x = torch.exp(-2j * math.pi * frequency_x * shifts[..., 1, None, None])
    return ramp_y * ramp_x


def shift_images(images: torch.Tensor, shifts_yx_px: torch.Tensor) -> torch.Tensor:
    """Move images ``(..., y, x)`` by ``(..., 2)`` pixels, periodically, exactly for band-limited content."""
    shape = (images.shape[-2], images.shape[-1])
    return torch.fft.irfft2(torch.fft.rfft2(images) * phase_ramp_rfft(shifts_yx_px, shape), s=shape)


def crop_rfft(
    spectra: torch.Tensor, shape_yx: tuple[int, int], new_shape_yx: tuple[int, int]
) -> torch.Tensor:
    """Spectra of the images resampled to a smaller (even) shape: low frequencies kept, values preserved.

    spectra : (..., y, x // 2 + 1) of images of ``shape_yx``. The centre index ``n // 2`` stays the centre.
    """
    require_crop(shape_yx, new_shape_yx)
    n_y, (m_y, m_x) = shape_yx[0], new_shape_yx
    half_y, columns = m_y // 2, m_x // 2 + 1
    kept = torch.cat([spectra[..., :half_y, :columns], spectra[..., n_y - half_y :, :columns]], dim=-2)
    return centred_rfft(kept, shape_yx, new_shape_yx)


def require_crop(shape_yx: tuple[int, int], new_shape_yx: tuple[int, int]) -> None:
    """Raise ValueError unless spectra of ``shape_yx`` can be cropped to a shape."""
    if any(m > n or m % 2 for n, m in zip(shape_yx, new_shape_yx, strict=True)):
        raise ValueError(f"expected an even shape within {shape_yx}, got {new_shape_yx}")


def centred_rfft(
    kept: torch.Tensor, shape_yx: tuple[int, int], new_shape_yx: tuple[int, int]
) -> torch.Tensor:
    """The last steps of `crop_rfft`, of frequencies cropped already, which may be changed.

    kept : (..., y, x // 2 + 1), the first and the last half of the rows and the first columns of a spectrum.
    """
    (n_y, n_x), (m_y, m_x) = shape_yx, new_shape_yx
    # The highest row and column stand for both signs; they carry no usable phase after a shift.
    if m_y < n_y:
        kept[..., m_y // 2, :] = 0
    if m_x < n_x:
        kept[..., -1] = 0
    # Pixel n // 2 must land on m // 2: move by m // 2 - (n // 2) m / n new pixels (0 for even n).
    offset = [m // 2 - (n // 2) * m / n for n, m in ((n_y, m_y), (n_x, m_x))]
    if any(abs(value) > 1e-9 for value in offset):
        kept = kept * phase_ramp_rfft(torch.tensor(offset, device=kept.device), new_shape_yx)
    return kept * (m_y * m_x / (n_y * n_x))


def fourier_resize(images: torch.Tensor, new_shape_yx: tuple[int, int]) -> torch.Tensor:
    """Resample images ``(..., y, x)`` to a smaller even shape by cropping their spectra."""
    shape = (images.shape[-2], images.shape[-1])
    if new_shape_yx == shape:
        return images
    return torch.fft.irfft2(crop_rfft(torch.fft.rfft2(images), shape, new_shape_yx), s=new_shape_yx)
