"""Low frequencies of frames, by vector code and by torch, against NumPy's transform in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.movies import frame_transform
from cryoloom.kernels.movies.frame_transform import (
    ROWS,
    lines_back,
    lines_shape,
    rows_back,
    transform_lines,
    transform_rows,
)

# Lengths of vector code, one of a factor of 7, and frames that end within a piece of 32 rows or of 8 columns.
CASES = [
    ((96, 160), (96, 160), (96, 81)),
    ((90, 150), (83, 147), (40, 31)),
    ((126, 140), (120, 133), (126, 71)),
    ((40, 54), (33, 54), (24, 17)),
]


def spectrum(image, shape_yx, kept):
    lines = torch.full(lines_shape(shape_yx[0], kept[1]), torch.nan)
    first = [n // 2 - m // 2 for n, m in zip(shape_yx, image.shape, strict=True)]
    lines[:, : first[0]] = 0
    lines[:, first[0] + image.shape[0] :] = 0
    work = torch.empty((shape_yx[1], ROWS))
    for start in range(0, image.shape[0], ROWS):
        rows = torch.zeros((ROWS, image.shape[1]))
        part = image[start : start + ROWS]
        rows[: len(part)] = torch.from_numpy(part)
        transform_rows(rows, first[0] + start, first[1], shape_yx[1], kept[1], lines, work)
    into = torch.empty(kept, dtype=torch.complex64)
    transform_lines(lines, into)
    return into.numpy()


def expected(image, shape_yx, kept):
    padded = np.zeros(shape_yx)
    y, x = (n // 2 - m // 2 for n, m in zip(shape_yx, image.shape, strict=True))
    padded[y : y + image.shape[0], x : x + image.shape[1]] = image
    full = np.fft.rfft2(padded)[:, : kept[1]]
    half = kept[0] // 2
    return np.concatenate([full[:half], full[shape_yx[0] - (kept[0] - half) :]])


@pytest.mark.parametrize("vector", [True, False], ids=["vector code", "torch"])
@pytest.mark.parametrize(("shape_yx", "frame_yx", "kept"), CASES)
def test_low_frequencies_are_those_of_the_whole_transform(monkeypatch, rng, shape_yx, frame_yx, kept, vector):
    if not vector:
        monkeypatch.setattr(frame_transform, "vector_code_fits", lambda _: False)
    image = rng.standard_normal(frame_yx).astype(np.float32)
    found, wanted = spectrum(image, shape_yx, kept), expected(image, shape_yx, kept)
    np.testing.assert_allclose(found, wanted, atol=3e-6 * np.sqrt(wanted.size) * 8)
    assert np.linalg.norm(found - wanted) < 1e-6 * np.linalg.norm(wanted)


@pytest.mark.parametrize("vector", [True, False], ids=["vector code", "torch"])
@pytest.mark.parametrize(("shape_yx", "image_yx"), [((96, 160), (90, 160)), ((40, 54), (33, 51))])
def test_spectra_lead_back_to_images_times_their_pixels(monkeypatch, rng, shape_yx, image_yx, vector):
    if not vector:
        monkeypatch.setattr(frame_transform, "vector_code_fits", lambda _: False)
    (n_y, n_x), (height, width) = shape_yx, image_yx
    whole = rng.standard_normal(shape_yx).astype(np.float32)
    spectrum = np.fft.rfft2(whole).astype(np.complex64)
    spectrum[0, 0] += 5j  # no real image has such a mean: it is not seen
    lines = torch.full(lines_shape(n_y, n_x // 2 + 1), torch.nan)
    for first in range(0, len(lines), 2):
        lines_back(torch.from_numpy(spectrum), first, lines[first : first + 2])
    y, x = (n - m for n, m in zip(shape_yx, image_yx, strict=True))
    found, work = torch.empty((height + ROWS, width)), torch.full((n_x, ROWS), torch.nan)
    for start in range(0, height, ROWS):
        rows_back(lines, y + start, x, n_x, found[start : start + ROWS], work)
    np.testing.assert_allclose(found[:height].numpy() / whole.size, whole[y:, x:], atol=3e-6)


def test_what_does_not_fit_is_refused():
    rows, work = torch.zeros((ROWS, 40)), torch.zeros((48, ROWS))
    lines = torch.zeros(lines_shape(64, 25))
    with pytest.raises(ValueError, match="40 samples from 10 on and 25 frequencies do not fit rows of 48"):
        transform_rows(rows, 0, 10, 48, 25, lines, work)
    with pytest.raises(ValueError, match="expected 32 rows"):
        transform_rows(rows[:16], 0, 0, 48, 25, lines, work)
    with pytest.raises(ValueError, match="from block 1 on do not fit"):
        lines_back(torch.zeros((64, 25), dtype=torch.complex64), 1, lines)
    with pytest.raises(ValueError, match="40 samples from 10 on, at row 0, do not fit"):
        rows_back(lines, 0, 10, 48, rows, work)
    with pytest.raises(ValueError, match="got 16"):
        rows_back(lines, 0, 0, 48, rows[:16], work)
    with pytest.raises(ValueError, match="do not fit"):
        transform_lines(lines, torch.zeros((64, 80), dtype=torch.complex64))
