"""A small looping picture of the aligned images: misaligned images jump."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import affine_transform

from cryoloom.geometry.tilt_axis import axis_lies_along_x, image_from_aligned
from cryoloom.model import Pose, TiltSeries

__all__ = ["MOST_BYTES", "aligned_frames", "aligned_loop"]

MOST_BYTES = 300_000
"""Size of the picture on the page."""
_LONGEST_PX = 256
_MOST_FRAMES = 61
_FRAME_MS = 110
_PAUSE_MS = 500
"""Chosen for viewing: side in pixels, frames, time of a frame, and pause at either end."""
_ATTEMPTS = ((1.0, 45), (1.0, 25), (0.7, 25), (0.5, 20), (0.35, 15))
"""Sizes and qualities: noise makes pictures large, and smaller ones average it away."""


def aligned_loop(series: TiltSeries, small: Mapping[int, NDArray[np.float32]]) -> str:
    """Animated WebP as a URI, tilts in use in order of angle; "" if fewer than three have a pose.

    small : images ``(y, x)``, block averages of the whole field, by acquisition index.
    """
    frames = aligned_frames(series, small)
    if len(frames) < 3:
        return ""
    pictures = [_picture(image, tilt_deg) for tilt_deg, image in frames]
    data = b""
    for scale, quality in _ATTEMPTS:
        data = _encoded([_scaled(picture, scale) for picture in pictures], quality)
        if len(data) * 4 / 3 < MOST_BYTES - 30:
            break
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")


def _encoded(pictures: list[Image.Image], quality: int) -> bytes:
    durations = [_FRAME_MS] * len(pictures)
    durations[0] = durations[-1] = _PAUSE_MS
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=quality,
        method=2,
    )
    return buffer.getvalue()


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale == 1.0:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX)


def aligned_frames(
    series: TiltSeries, small: Mapping[int, NDArray[np.float32]]
) -> list[tuple[float, NDArray[np.float32]]]:
    """Tilt in degrees and aligned image ``(y, x)`` of the tilts in use; NaN beyond an image.

    Axis and shift are removed, so that the tilt axis is vertical through the middle; at most as many tilts as
    the page allows, selected evenly.
    """
    chosen = [
        (tilt.pose, small[tilt.acquisition_index])
        for tilt in series.included
        if tilt.pose is not None and tilt.acquisition_index in small
    ]
    chosen.sort(key=lambda pair: pair[0].tilt_deg)
    chosen = chosen[:: -(-len(chosen) // _MOST_FRAMES)] if chosen else []
    if not chosen:
        return []
    extent_yx = np.array(series.best_stack.shape_yx) * series.best_stack.pixel_size_angstrom
    across = axis_lies_along_x(float(np.median([pose.axis_deg for pose, _ in chosen])))
    field_yx = extent_yx[::-1] if across else extent_yx
    pixel = float(max(field_yx)) / _LONGEST_PX
    shape = tuple(max(8, round(float(n) / pixel)) for n in field_yx)
    return [
        (pose.tilt_deg, _aligned(image, pose, extent_yx, pixel, (shape[0], shape[1])))
        for pose, image in chosen
    ]


def _aligned(
    image: NDArray[np.float32],
    pose: Pose,
    extent_yx: NDArray[np.float64],
    pixel_angstrom: float,
    shape_yx: tuple[int, int],
) -> NDArray[np.float32]:
    """Image sampled at ``shift + magnification Rz(axis) q`` for every aligned place q."""
    per_px = np.array(image.shape) / extent_yx
    # (y, x) in the image from (y, x) in the aligned frame, both from their middles.
    turn = image_from_aligned(pose.axis_deg)[::-1, ::-1]
    matrix = pose.magnification * pixel_angstrom * per_px[:, None] * turn
    at = np.array(pose.shift_xy_angstrom[::-1]) * per_px + (np.array(image.shape) - 1) / 2
    offset = at - matrix @ ((np.array(shape_yx) - 1) / 2)
    level = float(np.nanmean(image))
    flat = np.nan_to_num(image, nan=level)
    sampled: NDArray[np.float32] = affine_transform(
        flat, matrix, offset, shape_yx, np.float32, order=1, mode="constant", cval=np.nan
    )
    return sampled


def _picture(image: NDArray[np.float32], tilt_deg: float) -> Image.Image:
    """Grey levels, top row first, scaled per image, with the tilt as text and ticks at the axis."""
    known = image[np.isfinite(image)]
    low, high = np.percentile(known, [1.0, 99.0]) if known.size else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(image, nan=low) - low) / max(float(high - low), 1e-12), 0.0, 1.0)
    picture = Image.fromarray(np.ascontiguousarray((scaled * 255).astype(np.uint8)[::-1]))
    draw = ImageDraw.Draw(picture)
    middle, height = picture.width / 2, picture.height
    for start in (0, height - 9):
        draw.line((middle, start, middle, start + 8), fill=255, width=1)
    text = f"{tilt_deg:.0f}\N{DEGREE SIGN}"  # a hyphen: the font has no minus sign
    font = ImageFont.load_default(13)
    box = draw.textbbox((5, 3), text, font=font)
    draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=0)
    draw.text((5, 3), text, fill=255, font=font)
    return picture
