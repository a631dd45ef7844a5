"""IMOD's fiducial files: residuals and solved positions."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.fiducials import read_resid, read_xyz


def test_residuals_of_bb(data):
    table = read_resid(data / "imod/BB/BBa.resid")
    assert len(table.view) == 1403
    assert table.track.max() + 1 == 23
    assert (np.bincount(table.track) == 61).all()
    assert table.mean_residual_px == pytest.approx(0.3129, abs=1e-4)


def test_positions_of_bb(data):
    solved = read_xyz(data / "imod/BB/BBafid.xyz")
    assert solved.pixel_size_angstrom == 20.2
    assert solved.shape_yx == (512, 512)
    assert solved.xyz_px.shape == (23, 3)
    np.testing.assert_allclose(solved.xyz_px[0], [244.50, 242.64, 46.24])
    assert solved.contour[3] == 5


def test_cut_files_are_refused(tmp_path):
    path = tmp_path / "a.resid"
    path.write_text("  3 residuals\n 1.0 2.0 0 0.1 0.1\n")
    with pytest.raises(DataUnfitError, match="announces 3"):
        read_resid(path)
    path.write_text("")
    with pytest.raises(DataUnfitError, match="not a tiltalign"):
        read_resid(path)
    with pytest.raises(DataUnfitError, match="no 'Pix: Dim:'"):
        _without_header(tmp_path)


def _without_header(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("   1    244.50    242.64     46.24      1    1\n")
    return read_xyz(path)
