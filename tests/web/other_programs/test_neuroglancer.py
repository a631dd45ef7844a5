"""The OME-Zarr is the 8-bit copy, and places stand where their voxels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.geometry.rotations import rotation_y
from cryoloom.web.other_programs import neuroglancer
from cryoloom.web.other_programs.neuroglancer import client_folder, neuroglancer_state, zarr_answer
from cryoloom.web.other_programs.scene import PlacedSet, Scene
from cryoloom.web.pictures.levels import Levels, make_levels

SHAPE = (70, 90, 300)


@pytest.fixture
def levels(tmp_path: Path, rng: np.random.Generator) -> Levels:
    write_mrc(tmp_path / "v.mrc", rng.standard_normal(SHAPE).astype(np.float32), 10.0, kind="volume")
    return make_levels(MrcPixels(tmp_path / "v.mrc"), tmp_path / "levels", "volume")


def test_zarr_reads_what_is_served(levels: Levels, tmp_path: Path) -> None:
    """Written to files as a browser would fetch them, and read by zarr-python."""
    store = tmp_path / "served.zarr"
    names = ["zarr.json", "0/zarr.json", "1/zarr.json"]
    for level in (0, 1):
        n = [-(-size // 64) for size in levels.arrays[level].shape]
        names += [f"{level}/c/{'/'.join(map(str, at))}" for at in np.ndindex(*n)]
    for name in names:
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zarr_answer(levels, 10.0, name)[0])
    group = zarr.open_group(store, mode="r")
    for level in (0, 1):
        assert_array_equal(group[str(level)][:], levels.arrays[level])
    (scales,) = group.attrs["ome"]["multiscales"]
    assert [one["path"] for one in scales["datasets"]] == ["0", "1"]
    # A voxel of level 1 is the mean of voxels 0 and 1: its middle lies at half a voxel, 5 angstrom.
    scale, place = scales["datasets"][1]["coordinateTransformations"]
    assert (scale["scale"][0], place["translation"][0]) == (20.0, 5.0)


@pytest.mark.parametrize(
    "path", ["", "2/zarr.json", "0/c/0/0", "0/c/9/0/0", "0/c/0/0/x", "../levels.json", "0/0"]
)
def test_what_the_store_does_not_have_is_refused(levels: Levels, path: str) -> None:
    with pytest.raises(UserInputError):
        zarr_answer(levels, 10.0, path)


def test_places_are_the_middles_of_their_voxels_and_lines_point_along_z() -> None:
    index_zyx = np.array([[3, 40, 200], [60, 2, 5]])
    positions = (index_zyx - np.array(SHAPE) // 2)[:, ::-1] * 10.0
    turned = np.stack([np.eye(3), rotation_y(90.0)])  # z to z, z to x
    sets = (PlacedSet("picks", positions), PlacedSet("spikes", positions, turned, 50.0))
    state = neuroglancer_state(Scene("TS", Path("t.mrc"), SHAPE, 10.0, sets), "http://h/levels.zarr/", None)
    assert state["dimensions"]["x"] == [pytest.approx(1e-9), "m"]
    assert state["position"] == [150.0, 45.0, 35.0]
    image, points, lines = state["layers"]
    assert image["source"] == "zarr3://http://h/levels.zarr/"
    assert [one["point"] for one in points["annotations"]] == [[200.5, 40.5, 3.5], [5.5, 2.5, 60.5]]
    ends = np.array([[one["pointA"], one["pointB"]] for one in lines["annotations"]])
    assert_allclose(ends[:, 1] - ends[:, 0], [[0, 0, 5], [5, 0, 0]], atol=1e-3)


def test_without_the_package_there_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuroglancer.importlib.util, "find_spec", lambda _: None)
    assert client_folder() is None
