"""Images of the server, opened by key, and their 8-bit levels, made in one background thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.algorithms.series.derived_pixels import files_of, reopened
from cryoloom.errors import CryoloomError, DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.pixels.zarr import ZarrPixels
from cryoloom.model import Pixels
from cryoloom.model.pixels import Index
from cryoloom.web.pictures.levels import Kind, Levels, load_kernels, make_levels, open_levels

__all__ = ["FileOnly", "Image", "ImageShelf", "content_key"]

_MOST_OPEN = 64
"""Chosen: largest number of open files of a server."""
_QUIET_SECONDS = 0.15
"""Chosen: levels are made again when no picture was made for this time.

A page requests the next picture sooner.
"""
_LONGEST_PAUSE_SECONDS = 0.5
"""Chosen: for one section, so that levels are made also while somebody scrubs through an image."""
_USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cryoloom" / "levels"


@dataclass(frozen=True)
class Image:
    """A volume or stack ``(z, y, x)`` that can be shown. Its key changes if its file changes."""

    key: str
    name: str
    pixels: Pixels
    pixel_size_angstrom: float
    kind: Kind
    levels_folder: Path

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(z, y, x)``; a single image has one section."""
        n_z, n_y, n_x = self.pixels.shape
        return n_z, n_y, n_x


def content_key(*paths: Path, part: str = "") -> str:
    """Key of the content of files, from paths, lengths and times, because reading them takes too long.

    part : the part of the files, or what is computed from them. Raises DataUnfitError if a file is missing.
    """
    texts = []
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            raise DataUnfitError(f"{path.name} cannot be read: {error.strerror}") from error
        texts.append(f"{path.absolute()}\0{part}\0{facts.st_size}\0{facts.st_mtime_ns}")
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def open_pixels(path: Path) -> tuple[Pixels, float]:
    """A volume or stack from an MRC file or an OME-Zarr folder, and its pixel size in angstrom."""
    opened: MrcPixels | ZarrPixels = ZarrPixels(path) if path.is_dir() else MrcPixels(path)
    return opened, opened.pixel_size_angstrom


@dataclass(frozen=True, slots=True)
class FileOnly:
    """Pixels that are not open: only their location."""

    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Not known without the file."""
        return ()

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Not known without the file."""
        return np.dtype(np.float32)

    def __getitem__(self, index: Index, /) -> Any:
        raise NotImplementedError("open the file first")


class ImageShelf:
    """Open images and their levels. Levels are made for one image at a time, the last request first."""

    def __init__(self, cache_folder: Path | None = None) -> None:
        self._cache_folder = cache_folder
        self._lock = threading.Lock()
        self._images: OrderedDict[str, Image] = OrderedDict()
        self._levels: OrderedDict[str, Levels] = OrderedDict()
        self._making: dict[str, float] = {}
        self._waiting: OrderedDict[str, Image] = OrderedDict()
        self._failed: dict[str, str] = {}
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="levels")
        self._is_warm = False
        self._n_pictures = 0
        """Pictures that are being made."""
        self._last_picture = -_QUIET_SECONDS

    @contextlib.contextmanager
    def making_picture(self) -> Iterator[None]:
        """A picture is made for a user who waits for it: meanwhile, and shortly after, no levels are made."""
        with self._lock:
            self._n_pictures += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_pictures -= 1
                self._last_picture = time.monotonic()

    def _give_way(self) -> None:
        """Wait while pictures are made, for a limited time."""
        began = time.monotonic()
        while (now := time.monotonic()) - began < _LONGEST_PAUSE_SECONDS:
            quiet = 0.0 if self._n_pictures else now - self._last_picture
            if quiet >= _QUIET_SECONDS:
                return
            time.sleep(max(0.01, _QUIET_SECONDS - quiet))

    def close(self) -> None:
        """Wait for running work and start no more."""
        with self._lock:
            self._waiting.clear()
        self._maker.shutdown(wait=True, cancel_futures=True)

    def image(
        self, pixels: Pixels, kind: Kind, name: str, project: Path | None = None, how: str = ""
    ) -> Image:
        """Image in a file or computed from files. Raises DataUnfitError for a missing file or no image.

        how : distinguishes images that are made from the same files in different ways.
        """
        paths = files_of(pixels)
        key = content_key(*paths, part=how)
        found = self.opened(key)
        if found is None:
            size = open_pixels(paths[0])[1]
            opened = reopened(pixels, lambda path: open_pixels(path)[0])
            found = self.keep(Image(key, name, opened, size, kind, self.levels_folder(key, project)))
        return found

    def opened(self, key: str) -> Image | None:
        """An image that is already open."""
        with self._lock:
            return self._images.get(key)

    def keep(self, image: Image) -> Image:
        """Keep an open image; the least recently used one is dropped."""
        with self._lock:
            self._images[image.key] = image
            self._images.move_to_end(image.key)
            while len(self._images) > _MOST_OPEN:
                self._images.popitem(last=False)
        return image

    def levels_folder(self, key: str, project: Path | None) -> Path:
        """Folder for the levels of a key: in the project if it is writable, otherwise in the user's cache."""
        if self._cache_folder is not None:
            return self._cache_folder / key
        if project is not None and os.access(project, os.W_OK):
            return project / "cache" / "levels" / key
        return _USER_CACHE / key

    def levels(self, image: Image) -> Levels | None:
        """Levels of an image, if they exist."""
        with self._lock:
            found = self._levels.get(image.key)
        if found is None and (found := open_levels(image.levels_folder)) is not None:
            with self._lock:
                self._levels[image.key] = found
                if found.kind == "volume" and not self._is_warm:
                    self._is_warm = True
                    self._maker.submit(load_kernels, found)
                while len(self._levels) > _MOST_OPEN:
                    self._levels.popitem(last=False)
        return found

    def prepare(self, image: Image) -> float:
        """Start to make the levels; returns the finished fraction, 1 if they exist.

        Raises DataUnfitError if they cannot be made.
        """
        if self.levels(image) is not None:
            return 1.0
        with self._lock:
            if image.key in self._failed:
                raise DataUnfitError(self._failed.pop(image.key))
            if image.key not in self._making:
                self._making[image.key] = 0.0
                self._waiting[image.key] = image
                self._maker.submit(self._make_last)
            elif image.key in self._waiting:
                self._waiting.move_to_end(image.key)
            return self._making[image.key]

    def _make_last(self) -> None:
        """Make the levels of the image of the last request."""
        with self._lock:
            image = self._waiting.popitem()[1] if self._waiting else None
        if image is not None:
            self._make(image)

    def _make(self, image: Image) -> None:
        def progress(part: float) -> None:
            self._making[image.key] = min(part, 0.99)

        try:
            image.levels_folder.parent.mkdir(parents=True, exist_ok=True)
            make_levels(image.pixels, image.levels_folder, image.kind, progress, self._give_way)
        except (CryoloomError, OSError) as error:
            self._failed[image.key] = str(error)
        finally:
            with self._lock:
                self._making.pop(image.key, None)
