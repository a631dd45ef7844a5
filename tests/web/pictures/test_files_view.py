"""Files looked at without a project: what each is, what lies beside it, and frames of movies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.eer_writer import write_eer
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[ImageShelf]:
    shelf = ImageShelf(tmp_path / "levels")
    yield shelf
    shelf.close()


def mrc(path: Path, shape: tuple[int, int, int], rng: np.random.Generator, *, is_stack: bool = False) -> Path:
    write_mrc(path, rng.normal(size=shape).astype(np.float32), 4.0)
    with path.open("r+b") as file:
        file.seek(88)
        file.write((0 if is_stack else 1).to_bytes(4, "little"))
    return path


def test_a_file_is_a_stack_by_its_name_its_header_or_its_angles(
    tmp_path: Path, shelf: ImageShelf, rng: np.random.Generator
) -> None:
    paths = [
        mrc(tmp_path / "volume.mrc", (6, 8, 10), rng),
        mrc(tmp_path / "sections.mrc", (6, 8, 10), rng, is_stack=True),
        mrc(tmp_path / "named.st", (6, 8, 10), rng),
        mrc(tmp_path / "angled.mrc", (6, 8, 10), rng),
    ]
    (tmp_path / "angled.tlt").write_text("\n".join(str(3.0 * i) for i in range(6)))
    view = FilesView(paths, shelf)
    assert [file.kind for file in view.files] == ["volume", "stack", "stack", "stack"]
    assert view.files[3].tilt_deg == (0.0, 3.0, 6.0, 9.0, 12.0, 15.0)
    image = view.image(0)
    assert (image.kind, image.shape, image.name, image.pixel_size_angstrom) == (
        "volume", (6, 8, 10), "volume.mrc", 4.0,
    )  # fmt: skip


def test_frames_of_a_movie_are_sections_with_their_bottom_row_first(
    tmp_path: Path, shelf: ImageShelf, rng: np.random.Generator
) -> None:
    frames = rng.integers(0, 200, (3, 8, 10)).astype(np.uint8)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    view = FilesView([path], shelf)
    assert view.files[0].note == "3 frames"
    image = view.image(0)
    assert image.shape == (3, 8, 10)
    np.testing.assert_array_equal(image.pixels[1], frames[1, ::-1])
    np.testing.assert_array_equal(image.pixels[2, 1:4], frames[2, ::-1][1:4])
    assert view.image(0) is image  # opened once
    with pytest.raises(NotImplementedError, match="one at a time"):
        image.pixels[0:2]


def test_raw_frames_of_an_eer_are_shown_in_groups(tmp_path: Path, shelf: ImageShelf) -> None:
    frames = [np.array([[4 * (i % 8), 4 * (i % 10)]]) for i in range(90)]
    path = tmp_path / "movie.eer"
    write_eer(path, frames, (8, 10), dose_per_angstrom2=3.0, pixel_size_angstrom=1.5)
    image = FilesView([path], shelf).image(0)
    assert image.shape == (3, 8, 10)
    assert [int(image.pixels[i].sum()) for i in range(3)] == [40, 40, 10]


def test_what_cannot_be_shown_is_reported(
    tmp_path: Path, shelf: ImageShelf, rng: np.random.Generator
) -> None:
    path = mrc(tmp_path / "a.mrc", (2, 8, 10), rng)
    with pytest.raises(UserInputError, match="1 files were given; there is no number 1"):
        FilesView([path], shelf).image(1)
    (tmp_path / "a.tlt").write_text("0\n3\n")
    with pytest.raises(UserInputError, match="no image was given"):
        FilesView([tmp_path / "a.tlt"], shelf)
    (tmp_path / "b.mrc").write_bytes(b"nothing")
    with pytest.raises(DataUnfitError, match=r"b\.mrc"):
        FilesView([tmp_path / "b.mrc"], shelf)
