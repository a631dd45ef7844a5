"""8-bit levels and slices: right values, right way up, from the copy as from the file itself."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image as Picture

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.kernels.images.eight_bit_cpu import halve_eight_bit_numba, mean_across_numba
from cryoloom.web.pictures.images import FileOnly, Image, ImageShelf
from cryoloom.web.pictures.levels import level_shapes, make_levels, open_levels
from cryoloom.web.pictures.slices import SliceRequest, render, thumbnail, value_at


def picture(jpeg: bytes) -> np.ndarray:
    """Pixels of a JPEG with row 0 at the bottom."""
    return np.asarray(Picture.open(io.BytesIO(jpeg)), dtype=np.float32)[::-1]


def volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth along every axis, different in every octant, so that a flip or a swap is seen."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return (3.0 * z + 1.7 * y**2 + np.sin(2.0 * x) - 40).astype(np.float32)


def shelved(tmp_path: Path, values: np.ndarray, kind: str) -> tuple[ImageShelf, Image]:
    write_mrc(tmp_path / "image.mrc", values, 10.0, kind="volume")
    shelf = ImageShelf(tmp_path / "cache")
    return shelf, shelf.image(FileOnly(tmp_path / "image.mrc"), kind, "image")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(5, 7), (6, 8), (5, 8)])
def test_halving_is_the_mean(shape: tuple[int, int], rng: np.random.Generator) -> None:
    first, second = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    out = np.empty(((shape[0] + 1) // 2, (shape[1] + 1) // 2), dtype=np.uint8)
    halve_eight_bit_numba(first, second, out)
    padded = np.pad(
        np.stack([first, second]).astype(float), ((0, 0), (0, shape[0] % 2), (0, shape[1] % 2)), "edge"
    )
    n_y, n_x = out.shape
    mean = padded.reshape(2, n_y, 2, n_x, 2).mean(axis=(0, 2, 4))
    assert_array_equal(out, np.floor(mean + 0.5))  # halves are rounded up


@pytest.mark.parametrize("shape", [(5, 7, 9), (6, 8, 10)])
def test_a_slice_along_x_is_the_mean_of_its_columns(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    volume_ = rng.integers(0, 256, shape, dtype=np.uint8)
    out = np.empty((shape[1], shape[0]), dtype=np.float32)
    mean_across_numba(volume_, 2, 7, out)
    np.testing.assert_allclose(out, volume_[:, :, 2:7].mean(axis=2).T, rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 310, 270), (7, 33, 521)])
def test_levels_hold_the_values_of_the_volume(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    values = volume(shape)
    reported: list[float] = []
    levels = make_levels(values, tmp_path / "levels", "volume", reported.append)
    assert [array.shape for array in levels.arrays] == level_shapes(shape, "volume")
    assert reported[-1] == 1.0
    low, high = levels.ranges[0]
    step = (high - low) / 255
    inside = (values > low) & (values < high)
    assert inside.mean() > 0.99
    back = low + np.asarray(levels.arrays[0]) * step
    assert np.abs(back - values)[inside].max() < 0.51 * step
    half = levels.arrays[1]
    assert half is not None
    assert_allclose(low + half[2, 7, 60] * step, values[4:6, 14:16, 120:122].mean(), atol=step)
    again = open_levels(tmp_path / "levels")
    assert again is not None
    assert again.ranges == levels.ranges


def test_a_stack_is_shown_tilt_by_tilt(tmp_path: Path, rng: np.random.Generator) -> None:
    """A dark tilt and a bright one each get their own range, from block means and not from single pixels."""
    stack = rng.poisson(4.0, (3, 1200, 1030)).astype(np.float32)
    stack[:, 300:600] += 2.0
    stack[1] *= 20
    levels = make_levels(stack, tmp_path / "levels", "stack")
    assert len({levels.range_of(i) for i in range(3)}) == 3
    low, high = levels.range_of(1)
    assert low < 4 * 20 < 6 * 20 < high
    assert high - low < 20 * 8  # the noise of single pixels spans more than twice that
    smallest = levels.arrays[-1]
    assert smallest is not None
    assert smallest[1].std() > 30  # the band fills a good part of the 256 greys


def test_large_tilts_are_stored_coarse_only(tmp_path: Path) -> None:
    levels = make_levels(np.zeros((2, 2500, 300), np.float32), tmp_path / "levels", "stack")
    assert levels.arrays[0] is None
    assert levels.arrays[1] is not None


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("n_sections", [1, 6])
def test_slices_are_right_way_up_from_copy_and_file(
    tmp_path: Path, axis: str, ready: bool, n_sections: int
) -> None:
    values = volume((40, 52, 64))
    _, image = shelved(tmp_path, values, "volume")
    levels = make_levels(image.pixels, image.levels_folder, "volume") if ready else None
    made = render(image, levels, SliceRequest(0, axis, 17, n_sections, 95))  # type: ignore[arg-type]
    first = 17 - (n_sections - 1) // 2
    chosen = slice(first, first + n_sections)
    plane = {
        "z": values[chosen].mean(axis=0),
        "y": values[:, chosen].mean(axis=1),
        "x": values[:, :, chosen].mean(axis=2).T,
    }[axis]
    got = made.low + picture(made.jpeg) * (made.high - made.low) / 255
    assert got.shape == plane.shape
    # JPEG at 95 and 8 bits: two or three greys; percentiles cut the corners
    inside = (plane > made.low) & (plane < made.high)
    assert np.abs(got - plane)[inside].max() < 4 * (made.high - made.low) / 255


def test_exact_slices_show_the_asked_range(tmp_path: Path) -> None:
    values = volume((8, 40, 40))
    _, image = shelved(tmp_path, values, "volume")
    levels = make_levels(image.pixels, image.levels_folder, "volume")
    low, high = -39.5, -38.9
    made = render(image, levels, SliceRequest(0, "z", 3, quality=95, shown=(low, high)))
    assert (made.low, made.high) == (low, high)
    expected = np.clip((values[3] - low) / (high - low), 0, 1) * 255
    assert np.abs(picture(made.jpeg) - expected).max() < 6


def test_a_region_is_cut_out(tmp_path: Path) -> None:
    values = volume((4, 60, 50))
    _, image = shelved(tmp_path, values, "volume")
    whole = render(image, None, SliceRequest(0, "z", 2, quality=95))
    part = render(image, None, SliceRequest(0, "z", 2, quality=95, region=(10, 20, 16, 24)))
    assert_allclose(picture(part.jpeg), picture(whole.jpeg)[20:44, 10:26], atol=6)


@pytest.mark.parametrize(
    "request_",
    [
        SliceRequest(0, "z", 8),
        SliceRequest(0, "x", -1),
        SliceRequest(9, "z", 0),
        SliceRequest(0, "z", 0, region=(90, 0, 5, 5)),
    ],
)
def test_slices_that_are_not_there_are_refused(tmp_path: Path, request_: SliceRequest) -> None:
    _, image = shelved(tmp_path, volume((8, 40, 40)), "volume")
    with pytest.raises(UserInputError, match=r"image"):
        render(image, None, request_)


def test_values_are_the_stored_ones(tmp_path: Path) -> None:
    values = volume((8, 40, 41))
    _, image = shelved(tmp_path, values, "volume")
    assert value_at(image, 3, 20, 7) == values[3, 20, 7]
    with pytest.raises(UserInputError, match="41 voxels"):
        value_at(image, 0, 0, 41)


def test_a_thumbnail_is_small_and_has_contrast(tmp_path: Path) -> None:
    _, image = shelved(tmp_path, volume((3, 400, 300)), "stack")
    small = picture(thumbnail(image, None, 1, 100))
    assert max(small.shape) <= 100
    assert small.std() > 40


def test_nan_and_constant_images_are_shown(tmp_path: Path) -> None:
    values = np.full((3, 30, 30), np.nan, dtype=np.float32)
    values[1] = 7.0
    _, image = shelved(tmp_path, values, "volume")
    levels = make_levels(image.pixels, image.levels_folder, "volume")
    assert render(image, levels, SliceRequest(0, "z", 0)).jpeg
    assert render(image, levels, SliceRequest(0, "y", 5, 4)).jpeg


def _prepare(shelf: ImageShelf, image: Image) -> None:
    while shelf.prepare(image) < 1:
        time.sleep(0.01)


def test_the_shelf_makes_levels_once_and_says_why_not(tmp_path: Path) -> None:
    shelf, image = shelved(tmp_path, volume((8, 40, 40)), "volume")
    _prepare(shelf, image)
    assert shelf.levels(image) is not None
    (tmp_path / "short.mrc").write_bytes((tmp_path / "image.mrc").read_bytes())
    broken = shelf.image(FileOnly(tmp_path / "short.mrc"), "volume", "short")
    with (tmp_path / "short.mrc").open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(DataUnfitError, match=r"short\.mrc"):
        _prepare(shelf, broken)
    with pytest.raises(DataUnfitError, match=r"missing\.mrc cannot be read"):
        shelf.image(FileOnly(tmp_path / "missing.mrc"), "volume", "missing")
    shelf.close()


def test_a_changed_file_gets_another_key(tmp_path: Path) -> None:
    shelf, image = shelved(tmp_path, volume((8, 40, 40)), "volume")
    write_mrc(tmp_path / "image.mrc", volume((9, 40, 40)), 10.0, kind="volume")
    assert shelf.image(FileOnly(tmp_path / "image.mrc"), "volume", "image").key != image.key


def test_levels_of_another_version_are_replaced(tmp_path: Path) -> None:
    """As after an update: what lies there cannot be read, and must not keep the new ones away."""
    values = np.arange(4 * 30 * 40, dtype=np.float32).reshape(4, 30, 40)
    make_levels(values, tmp_path / "levels", "volume")
    facts = tmp_path / "levels" / "levels.json"
    facts.write_text(facts.read_text().replace('"version": ', '"version": 9'))
    assert open_levels(tmp_path / "levels") is None
    made = make_levels(values, tmp_path / "levels", "volume")
    assert made.arrays[0] is not None
    assert made.arrays[0].shape == values.shape
    assert [path.name for path in tmp_path.iterdir()] == ["levels"]
