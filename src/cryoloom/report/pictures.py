"""Pictures of one series as data URIs, cached beside the project until the series changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from cryoloom.algorithms.series.derived_pixels import files_of
from cryoloom.model import Pixels, Stack, Tilt, TiltSeries
from cryoloom.views.aligned_loop import aligned_loop
from cryoloom.views.content import SeriesReport
from cryoloom.views.images import (
    average_figure,
    averaged_to,
    central_slices,
    data_uri,
    layer_images,
    picture_threads,
    slice_images,
    stretched,
    tilt_thumbnail,
    with_scale_bar,
)
from cryoloom.views.specimen_height import measured_height
from cryoloom.views.spectra import spectrum_with_fit

__all__ = [
    "PictureCache",
    "PicturedTilts",
    "SeriesPictures",
    "TiltPictures",
    "TomogramPictures",
    "make_pictures",
    "picture_key",
    "pictured_tilts",
    "tilts_key",
]

PICTURES_VERSION = 6
"""Increased when the same series gives other pictures, so that cached ones are replaced."""
_LARGE_PX, _SMALL_PX = 640, 320
"""Chosen: the picture of a tilt, and its thumbnail."""
#: Chosen for viewing: membranes are visible above the noise, and a ribosome (250 angstrom) is not blurred.
_SLICE_THICKNESS_ANGSTROM = 80.0
_SPECTRUM_CONTRAST = (-1.5, 2.5)
"""Standard deviations from black to white; rings of the model go from -1 to 1."""


@dataclass(frozen=True, slots=True)
class TiltPictures:
    """One tilt: a thumbnail, a large image, and its spectrum beside the fitted CTF."""

    acquisition_index: int
    thumbnail: str
    large: str
    spectrum: str
    spectrum_edge_angstrom: float
    """Resolution at the middle of an edge of the spectrum."""
    spectrum_has_fit: bool


@dataclass(frozen=True, slots=True)
class TomogramPictures:
    """Slices of a tomogram at one scale, a small one for the overview, and layers from bottom to top."""

    xy: str
    xz: str
    yz: str
    preview: str
    width_px: int
    depth_px: int
    thickness_angstrom: float
    height_angstrom: float
    height_source: str
    layers: tuple[str, ...]
    layer_heights_angstrom: tuple[float, ...]


class PicturedTilts(NamedTuple):
    """Pictures of all tilts of a series; they do not depend on its alignment."""

    tilts: tuple[TiltPictures, ...]
    small: Mapping[int, NDArray[np.uint8]]
    """Small images ``(y, x)`` for the loop, by acquisition index."""


@dataclass(frozen=True, slots=True)
class SeriesPictures:
    """All pictures of a series; empty if there is nothing to show."""

    tilts: tuple[TiltPictures, ...] = ()
    loop: str = ""
    """The aligned images as a looping picture; "" if they are not aligned."""
    tomogram: TomogramPictures | None = None
    average: str = ""
    """Central slices of an average; "" for another item."""


def make_pictures(item: SeriesReport, kept: PicturedTilts | None = None) -> SeriesPictures:
    """Read the pixels of a series and its tomogram once and picture them.

    kept : of the tilts, if they are pictured already.
    """
    tilts, levels = kept or pictured_tilts(item.series)
    small = {index: one.astype(np.float32) for index, one in levels.items()}
    loop = aligned_loop(item.series, small) if item.series is not None else ""
    average = "" if item.average is None else data_uri(average_figure(item.average))
    return SeriesPictures(tilts, loop, _tomogram_pictures(item), average)


def pictured_tilts(series: TiltSeries | None) -> PicturedTilts:
    """Pictures of every tilt in order of angle, excluded ones too; and small images for the loop.

    Unweighted images if there are any: those recorded by the camera.
    """
    if series is None or (series.stack is None and series.weighted is None):
        return PicturedTilts((), {})
    stack = series.stack or series.best_stack
    if not all(path.exists() for path in files_of(stack.images)):
        return PicturedTilts((), {})  # removed to save space
    shown = [tilt for tilt in series.tilts if tilt.section is not None]

    def picture(tilt: Tilt) -> tuple[TiltPictures, NDArray[np.uint8]]:
        image = np.asarray(stack.images[tilt.section or 0], dtype=np.float32)
        large = averaged_to(image, _LARGE_PX)
        small = averaged_to(large, _SMALL_PX)
        return _pictures_of(tilt, image, large, small, stack, series), _in_256_levels(small)

    with ThreadPoolExecutor(picture_threads()) as pool:
        made = list(pool.map(picture, shown))
    pictures = tuple(one for one, _ in made)
    smalls = {tilt.acquisition_index: small for tilt, (_, small) in zip(shown, made, strict=True)}
    return PicturedTilts(pictures, smalls)


def _in_256_levels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image from black to white, its brightest and darkest thousandth cut off; enough for the loop."""
    return np.asarray(stretched(image, 0.1, 99.9), dtype=np.uint8)[::-1]


def _pictures_of(
    tilt: Tilt,
    image: NDArray[np.float32],
    large: NDArray[np.float32],
    small: NDArray[np.float32],
    stack: Stack,
    series: TiltSeries,
) -> TiltPictures:
    spectrum, edge = spectrum_with_fit(image, stack.pixel_size_angstrom, tilt.ctf, series.microscope)
    low, high = _SPECTRUM_CONTRAST
    pixel = stack.pixel_size_angstrom * (image.shape[1] // large.shape[1])
    return TiltPictures(
        acquisition_index=tilt.acquisition_index,
        thumbnail=data_uri(tilt_thumbnail(small), quality=80),
        large=data_uri(with_scale_bar(stretched(large, 0.5, 99.5), pixel), quality=75),
        spectrum=data_uri(stretched(np.clip(spectrum, low, high), 0, 100), quality=80),
        spectrum_edge_angstrom=edge,
        spectrum_has_fit=tilt.ctf is not None,
    )


def _tomogram_pictures(item: SeriesReport) -> TomogramPictures | None:
    tomogram = item.tomogram
    if tomogram is None:
        return None
    height = measured_height(tomogram, item.kept("residuals"))
    found = central_slices(tomogram.volume, tomogram.voxel_size_angstrom, _SLICE_THICKNESS_ANGSTROM, height)
    xy, xz, yz = slice_images(found)
    return TomogramPictures(
        xy=data_uri(xy),
        xz=data_uri(xz),
        yz=data_uri(yz),
        preview=data_uri(stretched(averaged_to(found.xy, 200), 0.5, 99.5), quality=80),
        width_px=xy.width,
        depth_px=yz.width,
        thickness_angstrom=found.thickness_angstrom,
        height_angstrom=found.height_angstrom,
        height_source=found.height.source,
        layers=tuple(data_uri(layer, quality=72) for layer in layer_images(found)),
        layer_heights_angstrom=found.layer_heights_angstrom,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Content of a file of the cache; the pictures of the tilts have a file of their own."""

    key: str
    pictures: SeriesPictures


_KEPT = TypeAdapter(_Kept)
_TILTS = TypeAdapter(tuple[TiltPictures, ...])


class PictureCache:
    """Pictures cached in a folder, one file per series; made again if their content changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def preview(self, item: SeriesReport) -> str:
        """The small picture of the tomogram alone, as `get` gives it, without reading all the others."""
        key = picture_key(item)
        with contextlib.suppress(OSError, ValueError):
            kept_key, preview = (
                (self._folder / f"{item.name}.preview").read_text(encoding="utf-8").split("\n")
            )
            if kept_key == key:
                return preview
        tomogram = self.get(item).tomogram
        return "" if tomogram is None else tomogram.preview

    def get(self, item: SeriesReport) -> SeriesPictures:
        """The cached pictures of the series, or new ones; if they cannot be cached they are only returned."""
        key = picture_key(item)
        path = self._folder / f"{item.name}.json"
        if key is None:
            if not _has_files(item):  # removed to save space: they were pictured before
                with contextlib.suppress(OSError, ValueError):
                    kept = _KEPT.validate_json(path.read_bytes())
                    tilts = self._kept_tilts(item.name, None)
                    return replace(kept.pictures, tilts=() if tilts is None else tilts.tilts)
            return make_pictures(item)
        with contextlib.suppress(OSError, ValueError):
            kept = _KEPT.validate_json(path.read_bytes())
            if kept.key == key:
                return replace(kept.pictures, tilts=self._tilts(item).tilts)
        made = make_pictures(item, self._tilts(item))
        part = path.with_name(f".{path.name}.part")
        with contextlib.suppress(OSError):  # the report is written even if the cache cannot be
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(_KEPT.dump_json(_Kept(key, replace(made, tilts=()))))
            os.replace(part, path)
            preview = made.tomogram.preview if made.tomogram is not None else ""
            part.write_text(f"{key}\n{preview}", encoding="utf-8")
            os.replace(part, path.with_suffix(".preview"))
        return made

    def _tilts(self, item: SeriesReport) -> PicturedTilts:
        """The cached pictures of the tilts, or new ones: another alignment does not change them."""
        key = tilts_key(item.series)
        if key is None:
            return pictured_tilts(item.series)
        if (kept := self._kept_tilts(item.name, key)) is not None:
            return kept
        made = pictured_tilts(item.series)
        path = self._folder / f"{item.name}.tilts"
        part = path.with_name(f".{path.name}.part")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(
                    file,
                    key=np.array(key),
                    tilts=np.array(_TILTS.dump_json(made.tilts).decode()),
                    indices=np.array(list(made.small)),
                    small=np.array(list(made.small.values())),
                )
            os.replace(part, path)
        return made

    def _kept_tilts(self, name: str, key: str | None) -> PicturedTilts | None:
        """The cached pictures of the tilts of a series with this key, if there are any.

        None stands for any key.
        """
        path = self._folder / f"{name}.tilts"
        with contextlib.suppress(OSError, ValueError, KeyError, BadZipFile), path.open("rb") as file:
            kept = np.load(file, allow_pickle=False)
            if key in (None, str(kept["key"])):
                small = dict(zip(kept["indices"].tolist(), kept["small"], strict=True))
                return PicturedTilts(_TILTS.validate_json(str(kept["tilts"])), small)
        return None

    def forget_others(self, names: Iterable[str]) -> None:
        """Remove the pictures of series that are not in the project any more."""
        kept = {f"{name}.{kind}" for name in names for kind in ("json", "preview", "tilts")}
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _has_files(item: SeriesReport) -> bool:
    """Whether the images of a series are there."""
    stack = None if item.series is None else item.series.stack or item.series.weighted
    return stack is None or all(path.exists() for path in files_of(stack.images))


def tilts_key(series: TiltSeries | None) -> str | None:
    """Digest of everything the pictures of the tilts depend on; None if there are no images in files."""
    stack = None if series is None else series.stack or series.weighted
    if series is None or stack is None:
        return None
    shown = [(t.acquisition_index, t.section, t.ctf) for t in series.tilts if t.section is not None]
    facts = [PICTURES_VERSION, stack.pixel_size_angstrom, series.microscope, shown]
    return _digest(facts, [stack.images])


def picture_key(item: SeriesReport) -> str | None:
    """Digest of everything the pictures depend on; None if pixels are not in files."""
    pixels: list[Pixels] = []
    facts: list[object] = [PICTURES_VERSION, item.kept("residuals")]
    if item.series is not None:
        stack = item.series.stack or item.series.weighted
        if stack is not None:
            pixels.append(stack.images)
        facts += [item.series.tilts, item.series.microscope]
    if item.tomogram is not None:
        pixels.append(item.tomogram.volume)
        facts += [item.tomogram.series.slab, item.tomogram.voxel_size_angstrom]
    if item.average is not None:
        pixels.append(item.average.map)
        facts.append(item.average.voxel_size_angstrom)
    return _digest(facts, pixels)


def _digest(facts: list[object], pixels: list[Pixels]) -> str | None:
    """Digest of facts and of the state of the files of pixels; None if pixels are not in files."""
    facts = list(facts)
    for one in pixels:
        paths = files_of(one)
        if not paths:
            return None
        try:
            stats = [path.stat() for path in paths]
        except OSError:
            return None
        facts += [
            (str(path), stat.st_size, stat.st_mtime_ns) for path, stat in zip(paths, stats, strict=True)
        ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
