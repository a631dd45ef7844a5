"""Slices as pictures: strips hold the same slices as single pictures do."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.pictures.images import FileOnly, Image, ImageShelf
from cryoloom.web.pictures.levels import Kind, Levels, make_levels
from cryoloom.web.pictures.slices import SliceRequest, render, render_strip

LOSS = 12  # greys that a JPEG of quality 90 of a smooth slice may be off


def opened(folder: Path, kind: Kind) -> tuple[Image, Levels]:
    """Ramps that differ from section to section, 13 x 270 x 520 (z, y, x)."""
    z, y, x = np.mgrid[0:13, 0:270, 0:520].astype(np.float32)
    write_mrc(folder / "ramps.mrc", x / 4 + y / 9 + 10 * z, 10.0, kind=kind)
    image = ImageShelf(folder / "cache").image(FileOnly(folder / "ramps.mrc"), kind, "ramps")
    return image, make_levels(image.pixels, folder / "levels", kind)


def greys(jpeg: bytes) -> NDArray[np.float64]:
    return np.asarray(Picture.open(BytesIO(jpeg)), dtype=float)


@pytest.mark.parametrize("kind", ["volume", "stack"])
@pytest.mark.parametrize("n_sections", [1, 5])
def test_a_strip_holds_slices_from_the_top_down(kind: Kind, n_sections: int, tmp_path: Path) -> None:
    image, levels = opened(tmp_path, kind)
    wanted = SliceRequest(level=1, axis="z", index=2, n_sections=n_sections, quality=90)
    made = render_strip(image, levels, wanted, 4)
    step = 2 if kind == "volume" else 1  # a volume has half as many sections at level 1
    assert len(made.ranges) == 4
    for one, part, shown in zip(range(4), np.split(greys(made.jpeg), 4), made.ranges, strict=True):
        alone = render(
            image,
            levels,
            SliceRequest(level=1, axis="z", index=2 + step * one, n_sections=n_sections, quality=90),
        )
        assert shown == (alone.low, alone.high)
        assert np.abs(part - greys(alone.jpeg)).max() < LOSS


def test_a_strip_ends_with_the_image(tmp_path: Path) -> None:
    image, levels = opened(tmp_path, "volume")
    assert len(render_strip(image, levels, SliceRequest(1, "z", 8), 16).ranges) == 3  # 8, 10, 12 of 13
    assert len(render_strip(image, levels, SliceRequest(1, "z", 12), 1).ranges) == 1
    with pytest.raises(UserInputError, match="slices 0 to 12 along z, got 13"):
        render_strip(image, levels, SliceRequest(1, "z", 13), 4)
    with pytest.raises(UserInputError, match="16 slices of 270 rows are too large"):
        render_strip(image, levels, SliceRequest(0, "x", 0), 16)
