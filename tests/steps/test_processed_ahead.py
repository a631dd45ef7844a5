"""Steps that prepare what depends on one image give the result of a batch run, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cryoloom.contract import find_step
from cryoloom.model import Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.store.codec import encode
from makers.blob_series import AXIS, make_series
from makers.context import MemoryContext
from makers.tilted_images import tilted_film

ANGLES = np.arange(-40.0, 41.0, 10.0)
TAKEN = np.argsort(np.argsort(np.abs(ANGLES + 0.1), kind="stable"), kind="stable")  # 0, -10, 10, -20 ...


class Counted:
    """Pixels that count the sections that are read."""

    def __init__(self, array):
        self.array, self.read = np.asarray(array, np.float32), set()
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __getitem__(self, index):
        first = index[0] if isinstance(index, tuple) else index
        self.read |= set(range(self.shape[0])[first]) if isinstance(first, slice) else {int(first)}
        return self.array[index]


def films():
    """A film with Thon rings."""
    rng = np.random.default_rng(3)
    images = [tilted_film(rng, defocus_angstrom=28000.0, tilt_deg=angle, axis_deg=85.0) for angle in ANGLES]
    tilts = tuple(
        Tilt(int(k), float(angle), 3.0 * k, 3.0 * k + 3.0, section=i)
        for i, (k, angle) in enumerate(zip(TAKEN, ANGLES, strict=True))
    )
    axis = Sourced.from_told(85.0, "mdoc")
    return TiltSeries("TS_01", Microscope(300.0), 2.7, tilts, axis, stack=Stack(np.stack(images), 2.7))


def blobs():
    """Gold beads."""
    return make_series(np.random.default_rng(5))[0]


def posed_blobs():
    series = blobs()
    poses = {t.acquisition_index: {"pose": Pose(AXIS, t.nominal_tilt_deg)} for t in series.tilts}
    return series.with_tilts(poses)


def halved_blobs():
    """With images of even and odd frames."""
    series = posed_blobs()
    noise = np.random.default_rng(4).normal(0, 1, series.stack.images.shape).astype(np.float32)
    images = np.asarray(series.stack.images)
    stack = replace(series.stack, even=images / 2 + noise, odd=images / 2 - noise)
    return replace(series, stack=stack)


def after(series, n_taken):
    """The series as it is after so many tilts, without poses; its file has places for all."""
    there = {t.section for t in series.tilts if t.acquisition_index < n_taken}
    keys = tuple(f"image {i}" if i in there else "" for i in range(len(series.tilts)))
    stack = replace(series.stack.of_each(Counted), image_keys=keys)
    tilts = tuple(replace(t, pose=None) for t in series.tilts if t.section in there)
    return replace(series, tilts=tilts, stack=stack)


def whole(series):
    """The series as it is processed when it is complete."""
    return replace(after(series, len(series.tilts)), tilts=series.tilts)


def result_of(step, series, params, context):
    made = find_step(step).run(series, params, context)
    value = encode(replace(made, stack=None), Path("/")) if isinstance(made, TiltSeries) else None
    return value, context.figures, context.records, {role: np.array(a) for role, a in context.pixels.items()}


WITH_BINNING = {"binning": 2, "thickness_angstrom": 400.0}
CASES = {
    "select_tilts": (blobs, {}),
    "estimate_ctf": (films, {"high_resolution_angstrom": 6.0, "max_defocus_angstrom": 45000.0}),
    "align_series": (blobs, {"method": "beads", "cross_validate": False}),
    "reconstruct": (posed_blobs, WITH_BINNING),
    "reconstruct with halves": (halved_blobs, WITH_BINNING),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_prepared_gives_the_result_of_a_batch_run(case):
    make, given = CASES[case]
    step = case.split()[0]
    made, declared = make(), find_step(step)
    params, n_tilts = declared.params(**given), len(made.tilts)
    torch.set_num_threads(2)
    batch = result_of(step, whole(made), params, MemoryContext())
    context = MemoryContext(grows=True)
    for n_taken in (1, 2, 5, 6, n_tilts):
        declared.run_ahead(after(made, n_taken), params, context)
    n_kept = len(context.kept)
    assert n_kept >= n_tilts
    context.grows = False
    series = whole(made)
    live = result_of(step, series, params, context)
    assert live[:3] == batch[:3]
    assert live[3].keys() == batch[3].keys()
    for role, pixels in batch[3].items():
        np.testing.assert_array_equal(live[3][role], pixels)
    for pixels in (series.stack.images, series.stack.even, series.stack.odd):
        assert pixels is None or pixels.read == set()  # no image was needed again
    assert len(context.kept) == n_kept  # and nothing is kept of a complete series
