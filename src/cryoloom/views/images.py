"""Pictures for people: thumbnails of tilts, central slices of a tomogram, scale bars."""

from __future__ import annotations

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from cryoloom.model import Average, Pixels
from cryoloom.views.specimen_height import SpecimenHeight, height_from_profile

__all__ = [
    "CentralSlices",
    "average_figure",
    "averaged_to",
    "central_slices",
    "data_uri",
    "layer_images",
    "picture_threads",
    "slice_images",
    "stretched",
    "tilt_thumbnail",
    "with_scale_bar",
]

FloatImage = NDArray[np.float32]
_GAP_PX = 6
"""Chosen for viewing."""
#: Chosen for viewing: finer than membranes, coarser than most of the noise in a slice.
_SMOOTHING_ANGSTROM = 12.0
#: Chosen for viewing: smoothing finer than the detail that selects a section.
_DETAIL_ANGSTROM = 40.0
_TILES = 8
_LAYER_PX = 400
_MOST_LAYERS = 48
"""Chosen: parts of a side whose detail is compared, pixels and number of layers averaged first; they bound
memory."""
_NOT_FOUND = SpecimenHeight(0.0, None, "the centre, as no specimen was found")


@dataclass(frozen=True, slots=True)
class CentralSlices:
    """Slices averaged over a thickness: ``xy`` as (y, x), ``xz`` as (z, x), ``yz`` as (y, z)."""

    xy: FloatImage
    xz: FloatImage
    yz: FloatImage
    voxel_size_angstrom: float
    thickness_angstrom: float
    height: SpecimenHeight
    """Height of xy, and how it was chosen."""
    layers: tuple[FloatImage, ...] = ()
    """Slices (y, x) through the whole volume from the lowest z on, smaller than xy, all of one size."""
    layer_heights_angstrom: tuple[float, ...] = ()
    """Middle of each layer above the centre of the volume."""

    @property
    def height_angstrom(self) -> float:
        """Height of the slice ``xy`` above the centre."""
        return self.height.middle_angstrom


def averaged_to(image: FloatImage, longest_px: int) -> FloatImage:
    """Image ``(y, x)`` averaged over square blocks so that its longer side is at most ``longest_px``."""
    return _averaged_by(image, -(-max(image.shape) // longest_px))


def stretched(image: FloatImage, low_percent: float, high_percent: float) -> Image.Image:
    """8-bit picture of an image ``(y, x)``, row 0 at the bottom, between two percentiles."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [low_percent, high_percent]) if finite.size else (0.0, 1.0)
    return _grey(image, float(low), float(high))


def tilt_thumbnail(image: FloatImage, longest_px: int = 160) -> Image.Image:
    """Small picture of one tilt ``(y, x)``; contrast is its own, as dose and thickness change with tilt."""
    return stretched(averaged_to(image, longest_px), 1.0, 99.0)


def central_slices(
    volume: Pixels,
    voxel_size_angstrom: float,
    thickness_angstrom: float,
    height: SpecimenHeight | None = None,
) -> CentralSlices:
    """Averages of ``(z, y, x)``, ``thickness_angstrom`` thick, smoothed for display; reads slice by slice.

    xz and yz pass through the centre; xy is at the given height, or at the specimen found in the voxels.
    """
    n_z, n_y, n_x = volume.shape
    half = max(0, round((thickness_angstrom / voxel_size_angstrom - 1) / 2))
    xz = np.empty((n_z, n_x), dtype=np.float32)
    yz = np.empty((n_y, n_z), dtype=np.float32)
    spread = np.empty(n_z)
    rows, columns = (slice(max(0, n // 2 - half), n // 2 + half + 1) for n in (n_y, n_x))
    deep = max(2 * half + 1, -(-n_z // _MOST_LAYERS))

    def look(z: int) -> FloatImage:
        plane = np.asarray(volume[z], np.float32)
        xz[z] = plane[rows].mean(axis=0)
        yz[:, z] = plane[:, columns].mean(axis=1)
        spread[z] = _detail(plane, voxel_size_angstrom)
        return averaged_to(plane, _LAYER_PX)

    layers: list[FloatImage] = []
    sums: list[FloatImage] = []
    with ThreadPoolExecutor(picture_threads()) as pool:
        for z, small in enumerate(pool.map(look, range(n_z))):
            sums.append(small)
            if len(sums) == deep or z == n_z - 1:
                layers.append(np.mean(sums, axis=0, dtype=np.float32))
                sums = []
    found = height or height_from_profile(spread, voxel_size_angstrom) or _NOT_FOUND
    middle = min(max(n_z // 2 + round(found.middle_angstrom / voxel_size_angstrom), 0), n_z - 1)
    slab = range(max(0, middle - half), min(n_z, middle + half + 1))
    xy = np.mean([volume[z] for z in slab], axis=0, dtype=np.float32)
    sigma = _SMOOTHING_ANGSTROM / voxel_size_angstrom
    xy, xz, yz = (gaussian_filter(np.nan_to_num(image), sigma) for image in (xy, xz, yz))
    ends = [min(n_z, (k + 1) * deep) for k in range(len(layers))]
    middles = [((k * deep + end - 1) / 2 - n_z // 2) * voxel_size_angstrom for k, end in enumerate(ends)]
    return CentralSlices(
        xy,
        xz,
        yz,
        voxel_size_angstrom,
        (2 * half + 1) * voxel_size_angstrom,
        replace(found, middle_angstrom=(middle - n_z // 2) * voxel_size_angstrom),
        tuple(layers),
        tuple(middles),
    )


def _detail(plane: FloatImage, voxel_size_angstrom: float) -> float:
    """Variation of a section in detail of 120 to 600 angstrom: median over tiles.

    By tiles, so that gold beads and their streaks, which lie in few of them, have little weight.
    """
    block = max(1, round(_DETAIL_ANGSTROM / voxel_size_angstrom))
    small = np.nan_to_num(_averaged_by(_inner(plane), block))
    fine, coarse = (sigma / (voxel_size_angstrom * block) for sigma in (60.0, 300.0))
    band = gaussian_filter(small, fine) - gaussian_filter(small, coarse)
    height, width = (max(1, n // _TILES) for n in band.shape)
    n_y, n_x = band.shape[0] // height, band.shape[1] // width
    tiles = band[: n_y * height, : n_x * width].reshape(n_y, height, n_x, width)
    return float(np.median(tiles.std(axis=(1, 3))))


def layer_images(slices: CentralSlices) -> list[Image.Image]:
    """Pictures of the layers, all with the contrast of the layer at the specimen's height."""
    if not slices.layers:
        return []
    nearest = int(np.argmin(np.abs(np.array(slices.layer_heights_angstrom) - slices.height_angstrom)))
    low, high = _usual_range(_inner(slices.layers[nearest]))
    return [_grey(layer, low, high) for layer in slices.layers]


def slice_images(
    slices: CentralSlices, longest_px: int = 720
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Pictures of xy (with a scale bar), xz and yz at one scale, each with the contrast of its middle."""
    block = -(-max(slices.xy.shape) // longest_px)
    # A small volume is enlarged, so that bar and letters keep their size on the page.
    enlarge = max(1, longest_px // max(slices.xy.shape))
    pictures = []
    for image in (slices.xy, slices.xz, slices.yz):
        small = _averaged_by(image, block)
        # Ends of the volume hold artefacts of few tilts: the middle alone sets the contrast.
        picture = _grey(small, *_usual_range(_inner(small)))
        size = (picture.width * enlarge, picture.height * enlarge)
        pictures.append(picture.resize(size, Image.Resampling.BICUBIC))
    xy, xz, yz = pictures
    text_px = (xy.width + yz.width) // 50  # they are shown side by side
    return with_scale_bar(xy, slices.voxel_size_angstrom * block / enlarge, text_px), xz, yz


def average_figure(average: Average, longest_px: int = 300) -> Image.Image:
    """Central slices of an average side by side: xy (with a scale bar), xz and yz; density is bright."""
    volume, voxel = average.map, average.voxel_size_angstrom
    n_z, n_y, n_x = volume.shape
    xz, yz = np.empty((n_z, n_x), np.float32), np.empty((n_z, n_y), np.float32)
    for z in range(n_z):
        plane = volume[z]
        xz[z], yz[z] = plane[n_y // 2], plane[:, n_x // 2]
    xy = np.asarray(volume[n_z // 2], dtype=np.float32)
    low, high = (float(v) for v in np.nanpercentile(np.concatenate([xy.ravel(), xz.ravel()]), [0.5, 99.8]))
    enlarge = max(1, longest_px // max(volume.shape))
    pictures = [_grey(image, low, high) for image in (xy, xz, yz)]
    pictures = [p.resize((p.width * enlarge, p.height * enlarge), Image.Resampling.BICUBIC) for p in pictures]
    pictures[0] = with_scale_bar(pictures[0], voxel / enlarge)
    figure = Image.new(
        "L", (sum(p.width for p in pictures) + 2 * _GAP_PX, max(p.height for p in pictures)), 255
    )
    left = 0
    for picture in pictures:
        figure.paste(picture, (left, 0))
        left += picture.width + _GAP_PX
    return figure


def with_scale_bar(picture: Image.Image, pixel_size_angstrom: float, text_px: int = 12) -> Image.Image:
    """The picture with a white bar of a round length in its lower left corner."""
    length_angstrom = _round_length(picture.width * pixel_size_angstrom * 0.22)
    length_px = length_angstrom / pixel_size_angstrom
    text = f"{length_angstrom / 10:.0f} nm"
    size = max(11, text_px)
    marked = picture.copy()
    draw = ImageDraw.Draw(marked)
    font = ImageFont.load_default(size)
    x, y = size, picture.height - size
    thick = max(2, size // 4)
    box = draw.textbbox((x, y - thick - size * 1.35), text, font=font)
    draw.rectangle(
        (x - size / 2, box[1] - size / 2, x + max(length_px, box[2] - x) + size / 2, y + size / 2), fill=0
    )
    draw.rectangle((x, y - thick, x + length_px, y), fill=255)
    draw.text((x, y - thick - size * 1.35), text, fill=255, font=font)
    return marked


def data_uri(picture: Image.Image, *, quality: int = 85) -> str:
    """The picture as a JPEG inside a URI, for a page without other files."""
    buffer = io.BytesIO()
    picture.convert("L").save(buffer, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _inner(image: FloatImage) -> FloatImage:
    return image[tuple(slice(n // 8, n - n // 8) for n in image.shape)]


def _usual_range(image: FloatImage) -> tuple[float, float]:
    """4.5 robust standard deviations either side of the median: beads do not flatten everything else."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    middle = float(np.median(finite))
    # 1.4826: standard deviation over median absolute deviation of a normal distribution.
    spread = 4.5 * 1.4826 * float(np.median(np.abs(finite - middle)))
    return middle - spread, middle + spread


def _grey(image: FloatImage, low: float, high: float) -> Image.Image:
    """8-bit picture, top row first as pictures are; what is not finite is black."""
    scaled = np.clip((np.nan_to_num(image, nan=low) - low) / max(high - low, 1e-12), 0.0, 1.0)
    return Image.fromarray(np.ascontiguousarray((scaled * 255).astype(np.uint8)[::-1]))


def _averaged_by(image: FloatImage, block: int) -> FloatImage:
    """Block average; a remainder at the far edges is left out, at least one block stays."""
    block_y, block_x = (min(block, n) for n in image.shape)
    n_y, n_x = image.shape[0] // block_y, image.shape[1] // block_x
    trimmed = image[: n_y * block_y, : n_x * block_x]
    # Rows first: whole rows are added, and few values are left to be added along them, by a product, since
    # sums over a few neighbours each take much longer.
    by_rows = np.add.reduce(trimmed.reshape(n_y, block_y, n_x * block_x), axis=1, dtype=np.float32)
    share = np.full(block_x, 1.0 / (block_y * block_x), np.float32)
    return np.asarray(by_rows.reshape(n_y, n_x, block_x) @ share)


def picture_threads() -> int:
    """Threads for pictures made side by side: the cores this process may use, at most 4."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _round_length(about: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that is not above ``about``."""
    power = 10.0 ** np.floor(np.log10(about))
    return float(max(step for step in (1, 2, 5) if step * power <= about * 1.0001) * power)
