"""Pixels to the scratch folder of a program and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.programs.handover import (
    json_lines,
    keep_stack,
    keep_volume,
    place_float32,
    tilts_by_section,
    workplace_of,
)
from makers.made_series import make_series


def stored(path, values, pixel=2.0, dtype="float32"):
    sink = MrcSink(path, values.shape, pixel, dtype=dtype)
    for i, section in enumerate(values):
        sink[i] = section
    sink.commit()
    return MrcPixels(path)


def test_sections_are_written_in_the_order_asked_for(rng, tmp_path):
    values = rng.normal(size=(4, 6, 8)).astype(np.float32)
    place_float32(values, tmp_path / "in.mrc", 3.0, [2, 0])
    placed = MrcPixels(tmp_path / "in.mrc")
    assert_array_equal(placed[:], values[[2, 0]])
    assert placed.pixel_size_angstrom == pytest.approx(3.0)


def test_a_file_of_floats_is_linked_and_one_of_halves_is_copied(rng, tmp_path):
    values = rng.normal(size=(2, 6, 8)).astype(np.float32)
    floats = stored(tmp_path / "floats.mrc", values)
    place_float32(floats, tmp_path / "a.mrc", 2.0)
    assert (tmp_path / "a.mrc").samefile(tmp_path / "floats.mrc")
    halves = stored(tmp_path / "halves.mrc", values, dtype="float16")
    place_float32(halves, tmp_path / "b.mrc", 2.0)
    assert MrcPixels(tmp_path / "b.mrc").dtype == np.float32
    np.testing.assert_allclose(MrcPixels(tmp_path / "b.mrc")[:], values, atol=2e-3)


def test_a_volume_of_another_order_and_hand_is_turned_back(rng, tmp_path, context):
    volume = rng.normal(size=(5, 70, 6)).astype(np.float32)
    stored(tmp_path / "z.mrc", volume[::-1])
    stored(tmp_path / "y.mrc", np.ascontiguousarray(volume.transpose(1, 0, 2)))
    keep_volume(context, "mirrored", tmp_path / "z.mrc", volume.shape, 2.0, mirror_z=True)
    keep_volume(context, "sections_of_y", tmp_path / "y.mrc", volume.shape, 2.0, sections_are="y")
    assert_array_equal(context.pixels["mirrored"], volume)
    assert_array_equal(context.pixels["sections_of_y"], volume)


def test_a_stack_is_kept_and_one_of_another_shape_refused(rng, tmp_path, context):
    values = rng.normal(size=(3, 6, 8)).astype(np.float32)
    stored(tmp_path / "out.mrc", values)
    keep_stack(context, "images", tmp_path / "out.mrc", values.shape, 2.0)
    assert_array_equal(context.pixels["images"], values)
    with pytest.raises(DataUnfitError):
        keep_stack(context, "others", tmp_path / "out.mrc", (4, 6, 8), 2.0)


def test_every_section_has_a_tilt_or_is_refused():
    series = make_series(n_tilts=5)
    assert [tilt.section for tilt in tilts_by_section(series, series.stack)] == [0, 1, 2, 3, 4]
    gone = series.tilts[2].acquisition_index
    lacking = replace(series, tilts=tuple(t for t in series.tilts if t.acquisition_index != gone))
    with pytest.raises(DataUnfitError, match="has 5 sections, but its tilts name 4 of them"):
        tilts_by_section(lacking, series.stack)


def test_the_device_is_the_engine_s(context):
    context.device = "cuda:3"
    assert workplace_of(context).gpu == 3
    context.device = "cpu"
    assert workplace_of(context).gpu is None


def test_entries_are_lines_of_json():
    import json

    assert json.loads(json_lines({"a": 1, "b": [2, "c"]})) == {"a": 1, "b": [2, "c"]}
