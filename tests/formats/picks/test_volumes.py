"""Voxels that coordinates count in, and numbers that programs give to tomograms."""

from __future__ import annotations

from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import (
    PickVolume,
    name_of_number,
    numbers_of_names,
    tomogram_of_file,
    volume_of,
)
from makers.pick_files import VOLUMES

VOLUME = PickVolume((250, 400, 400), 7.84)


def test_numbers_of_tomograms_are_those_of_their_names():
    assert numbers_of_names(["TS_17", "TS_03"]) == {"TS_03": 3, "TS_17": 17}
    assert numbers_of_names(["a", "b_2"]) == {"a": 1, "b_2": 2}
    assert numbers_of_names(["x_1", "y_1"]) == {"x_1": 1, "y_1": 2}


def test_positions_count_from_the_centre_voxel_of_even_and_odd_sides():
    volume = PickVolume((251, 400, 399), 7.84)
    assert_allclose(volume.positions([[199, 200, 125]]), [[0, 0, 0]])
    assert_allclose(volume.positions([[200, 201, 126]], first=1.0), [[0, 0, 0]])
    assert_allclose(volume.positions([[200, 200, 125]]), [[7.84, 0, 0]])


def test_pixels_are_the_inverse(rng):
    volume = PickVolume((251, 400, 399), 7.84)
    positions = rng.uniform(-500, 500, (5, 3))
    assert_allclose(volume.positions(volume.pixels(positions, first=1.0), first=1.0), positions)


def test_a_tomogram_that_is_not_known_is_named():
    with pytest.raises(
        DataUnfitError, match=r"Dynamo counts in voxels .* of 'TS_99' is not known; known are"
    ):
        volume_of(VOLUMES, "TS_99", "Dynamo")


def test_numbers_lead_back_to_names():
    assert name_of_number(17, VOLUMES) == "TS_17"
    assert name_of_number(99, VOLUMES) == "99"


def test_a_file_belongs_to_the_tomogram_whose_name_it_begins_with():
    volumes = {"TS_1": VOLUME, "TS_11": VOLUME}
    assert tomogram_of_file(Path("TS_11_picks.json"), volumes) == "TS_11"
    assert tomogram_of_file(Path("picks.json"), {"TS_1": VOLUME}) == "TS_1"
    assert tomogram_of_file(Path("picks.json"), volumes) == "picks"
