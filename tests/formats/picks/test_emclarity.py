"""Tables of emClarity."""

from __future__ import annotations

import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.emclarity import is_emclarity, read_emclarity
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file
from makers.pick_files import VOLUMES


def test_emclarity_s_matrix_is_column_after_column(tmp_path):
    turn = Rotation.from_euler("ZXZ", [30, 40, 50], degrees=True).as_matrix()  # about the turned axes
    line = [0.9, 6, 0, 5, 1, 1, 1, 1, 1, 0, 200, 201, 126, 30, 40, 50, *turn.T.ravel(), 1]
    path = tmp_path / "TS_17_2_bin6.csv"
    path.write_text(" ".join(f"{value:.8f}" for value in line) + "\n")
    assert format_of_file(path) == "emclarity"
    found = PARTICLE_FORMATS["emclarity"].read(path, VOLUMES)
    assert found.tomogram.tolist() == ["TS_17"]
    assert_allclose(found.rotations[0], turn, atol=1e-7)
    assert_allclose(found.positions_xyz_angstrom, [[0, 0, 0]])


def test_only_lines_of_26_numbers_are_emclarity_s(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(" ".join("1" * 25) + "\n")
    assert not is_emclarity(path)
    with pytest.raises(DataUnfitError, match="expected 26 numbers a line"):
        read_emclarity(path, VOLUMES)
    path.write_text("a,b\n")
    assert not is_emclarity(path)
