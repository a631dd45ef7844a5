"""CTFs in STAR tables: Gctf's layout, and RELION-5's own file of a real series."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.ctf_programs.gctf import read_star_ctf, write_gctf
from cryoloom.formats.relion.relion5 import read_relion5_tilt_series
from makers.ctf_series import assert_same_ctfs, series_with_ctfs

ANGLES = (0.0, 3.0, -3.0, -6.0, 6.0)


@pytest.mark.parametrize("excluded", [None, 2])
def test_gctf_round_trip(tmp_path, excluded):
    series = series_with_ctfs(ANGLES, excluded=excluded, phase_shift_deg=90.0)
    write_gctf(tmp_path / "TS_01_gctf.star", series)
    found = read_star_ctf(tmp_path / "TS_01_gctf.star")
    assert found.n_images == len(ANGLES)
    assert_same_ctfs(ctfs_by_tilt(found, series), series, to_angstrom=1e-4)


def test_gctf_names_single_images_by_their_file(tmp_path):
    path = tmp_path / "micrographs_all_gctf.star"
    path.write_text(
        "data_\n\nloop_\n_rlnMicrographName #1\n_rlnCtfImage #2\n_rlnDefocusU #3\n_rlnDefocusV #4\n"
        "_rlnDefocusAngle #5\n_rlnFinalResolution #6\nframes/a_003.mrc a.ctf:mrc 20000 21000 10 4.5\n"
    )
    (view,) = read_star_ctf(path).views
    assert view.image_name == "frames/a_003.mrc"
    assert (view.ctf.defocus_u_angstrom, view.ctf.astigmatism_angle_deg) == (21000.0, -80.0)
    assert view.ctf.fit_resolution_angstrom == 4.5


def test_relions_own_table_is_matched_by_tilt_and_dose(data):
    table = data / "relion5" / "empiar-10164" / "CtfFind" / "job003" / "tilt_series_ctf.star"
    series = read_relion5_tilt_series(table, "TS_01")
    found = ctfs_by_tilt(read_star_ctf(table.parent / "tilt_series" / "TS_01.star"), series)
    assert len(found) == len(series.tilts) == 41
    np.testing.assert_allclose(
        [found[t.acquisition_index].defocus_u_angstrom for t in series.tilts],
        [t.ctf.defocus_u_angstrom for t in series.tilts if t.ctf is not None],
    )


def test_tables_without_defocus_are_refused(tmp_path):
    path = tmp_path / "x.star"
    path.write_text("data_\n\nloop_\n_rlnMicrographName #1\na.mrc\n")
    with pytest.raises(DataUnfitError, match="no table with rlnDefocusU"):
        read_star_ctf(path)
