"""Scripts for viewers: valid, and at the places of the particles."""

from __future__ import annotations

import ast

import numpy as np

from cryoloom.formats.picks.viewer_scripts import (
    bild_arrows,
    chimerax_script,
    napari_script,
    positions_csv,
)

PLACES = np.array([[10.0, 20.0, 30.0], [1.5, 2.5, 3.5]])


def test_arrows_point_along_the_direction():
    lines = bild_arrows(PLACES, np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), 50.0).splitlines()
    arrows = [line for line in lines if line.startswith(".arrow")]
    numbers = [float(value) for value in arrows[0].split()[1:]]
    assert numbers[:6] == [10.0, 20.0, 30.0, 10.0, 20.0, 80.0]
    assert [float(value) for value in arrows[1].split()[4:7]] == [51.5, 2.5, 3.5]


def test_the_table_reads_back():
    rotations = np.stack([np.eye(3), np.eye(3)[[1, 2, 0]]])
    rows = positions_csv(np.array([4, 9]), PLACES, rotations).splitlines()
    assert rows[0].split(",")[:4] == ["particle", "x_angstrom", "y_angstrom", "z_angstrom"]
    second = [float(value) for value in rows[2].split(",")]
    assert second[0] == 9
    assert second[1:4] == [1.5, 2.5, 3.5]
    assert np.allclose(np.reshape(second[4:], (3, 3)), rotations[1])


def test_scripts_name_what_they_open():
    commands = chimerax_script("map_back.mrc", "positions.bild", 0.25, "/data/TS 1.mrc")
    assert "open map_back.mrc" in commands
    assert 'open "/data/TS 1.mrc"' in commands
    assert "level 0.25" in commands
    program = napari_script("map_back.mrc", "positions.csv", 8.0, 0.25, 60.0, "/data/TS 1.mrc")
    ast.parse(program)
    assert "VOXEL_ANGSTROM = 8.0" in program
    assert "'/data/TS 1.mrc'" in program
