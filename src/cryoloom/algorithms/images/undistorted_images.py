"""Images with their local displacement undone, so that a rigid pose describes them (decision 11)."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.geometry.frames import position_from_index
from cryoloom.geometry.spline_basis import clamped_spline_basis, cubic_spline_transfer
from cryoloom.kernels.images.sample_displaced import sample_displaced
from cryoloom.model import ImageWarp

__all__ = ["undistorted"]


def undistorted(image: torch.Tensor, warp: ImageWarp | None, pixel_size_angstrom: float) -> torch.Tensor:
    """Image ``(y, x)`` float32 whose pixel p shows what ``image`` shows at ``p + displacement(p)``.

    Sampled with interpolating cubic B-splines; beyond the image its outermost pixel is taken. Without a warp
    the image itself.
    """
    if warp is None:
        return image
    shape = (image.shape[0], image.shape[1])
    # Spectrum of samples over that of the cubic B-splines' weights.
    transfer = [torch.from_numpy(cubic_spline_transfer(n)).to(image) for n in shape]
    spectrum = torch.fft.rfft2(image)
    spectrum /= transfer[0][:, None] * transfer[1][None, : spectrum.shape[1]]
    coefficients = torch.fft.irfft2(spectrum, s=shape)
    bases = [
        clamped_spline_basis(
            position_from_index(np.arange(n)[:, None], (n,), pixel_size_angstrom)[:, 0] / extent + 0.5, count
        ).astype(np.float32)
        for n, extent, count in zip(
            shape, warp.extent_xy_angstrom[::-1], warp.n_controls_xy[::-1], strict=True
        )
    ]
    controls_yx_px = np.ascontiguousarray(warp.controls[..., ::-1] / pixel_size_angstrom, np.float32)
    along_y, along_x, controls = (torch.from_numpy(a).to(image.device) for a in (*bases, controls_yx_px))
    sampled = torch.empty_like(coefficients)
    sample_displaced(coefficients, (0, 0), along_y, along_x, controls, sampled)
    return sampled
