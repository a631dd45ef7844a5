from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.model import (
    ArrayTable,
    Ctf,
    Exclusion,
    GainReference,
    ImageWarp,
    Microscope,
    Movie,
    Particles,
    Pose,
    Sourced,
    Stack,
    Tilt,
    TiltSeries,
    Tomogram,
)
from cryoloom.store.codec import decode, encode, fingerprint


class FilePixels:
    """Pixels in a file that nobody opens."""

    shape = (1, 2, 2)
    dtype = np.dtype(np.float32)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, index):
        raise AssertionError("the codec reads no pixels")

    def __eq__(self, other):
        return self.path == other.path

    __hash__ = None


def tomogram(root: Path) -> Tomogram:
    tilt = Tilt(
        acquisition_index=3,
        nominal_tilt_deg=-6.0,
        dose_start_per_angstrom2=9.0,
        dose_end_per_angstrom2=12.0,
        movie=Movie(Path("/data/raw/a.tif"), 8, (10, 12)),
        acquired_at=datetime(2026, 11, 21, 4, 5, 6, tzinfo=UTC),
        section=0,
        frame_shifts_yx_angstrom=((0.5, -1.0), (-0.5, 1.0)),
        exclusion=Exclusion.by_step("dark", "select_tilts", 0.1),
        ctf=Ctf(30000.0, 29000.0, 45.0),
        pose=Pose(85.0, -6.1, shift_xy_angstrom=(12.0, 3.0)),
    )
    series = TiltSeries(
        "TS_01",
        Microscope(),
        2.7,
        (tilt,),
        tilt_axis_deg=Sourced.from_told(85.3, "mdoc").with_measured(84.9, "align_series", apply=True),
        gain=GainReference(Path("/data/raw/gain.mrc"), 1, "left_right", "found", (("r1", 0.1), ("r2", 0.2))),
        stack=Stack(FilePixels(root / "runs/a/images.mrc"), 2.7),
    )
    return Tomogram(series, FilePixels(root / "runs/b/tomogram.mrc"), 10.8)


def test_values_come_back_whole(tmp_path):
    value = tomogram(tmp_path)
    text = json.dumps(encode(value, tmp_path))
    assert decode(json.loads(text), tmp_path, FilePixels) == value


def test_a_project_can_be_moved(tmp_path):
    data = encode(tomogram(tmp_path), tmp_path)
    assert data["volume"] == {"$pixels": "runs/b/tomogram.mrc"}
    moved = decode(data, Path("/elsewhere"), FilePixels)
    assert moved.volume.path == Path("/elsewhere/runs/b/tomogram.mrc")
    assert moved.series.gain.path == Path("/data/raw/gain.mrc")  # raw data stay where they are


def test_fields_of_another_version_do_not_matter(tmp_path):
    data = encode(Pose(85.0, 3.0), tmp_path)
    del data["magnification"]
    data["from_the_future"] = 1
    assert decode(data, tmp_path, FilePixels) == Pose(85.0, 3.0)


def test_what_is_not_the_models_is_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot store a set"):
        encode({1, 2}, tmp_path)
    with pytest.raises(TypeError, match="cannot store a ndarray"):
        encode(Stack(np.zeros((1, 2, 2), np.float32), 1.0), tmp_path)


def test_fingerprints_depend_on_content_alone(tmp_path):
    first = fingerprint("draw", 1, {"a": 1.0, "b": [1, 2]})
    assert first == fingerprint("draw", 1, {"b": [1, 2], "a": 1.0})
    assert first != fingerprint("draw", 2, {"a": 1.0, "b": [1, 2]})
    series = tomogram(tmp_path).series
    changed = replace(series, tilts=(replace(series.tilts[0], section=1),))
    assert fingerprint(encode(series, tmp_path)) != fingerprint(encode(changed, tmp_path))


def test_a_pose_with_a_local_displacement_survives(tmp_path, rng):
    """And one stored before there were any has none."""
    pose = Pose(85.0, -30.0, warp=ImageWarp.of_controls(rng.normal(size=(3, 4, 2)), (4000.0, 3000.0)))
    data = json.loads(json.dumps(encode(pose, tmp_path)))
    assert decode(data, tmp_path, open_pixels=None) == pose
    del data["warp"]
    assert decode(data, tmp_path, open_pixels=None).warp is None


def test_a_table_is_stored_by_its_path(tmp_path):
    (tmp_path / "runs").mkdir()
    write_parquet(tmp_path / "runs" / "t.parquet", {"a": np.arange(3)})
    stored = encode(Particles("TS_1", ParquetTable(tmp_path / "runs" / "t.parquet"), ()), tmp_path)
    assert stored["table"] == {"$table": "runs/t.parquet"}
    found = decode(json.loads(json.dumps(stored)), tmp_path, FilePixels)
    assert found.table.read("a")["a"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="cannot store"):
        encode(ArrayTable({"a": np.arange(3)}), tmp_path)
