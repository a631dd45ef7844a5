"""Local alignments: IMOD's own file, and the round trip."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.local_alignment import LocalAlignment, read_local_xf, write_local_xf


@pytest.mark.parametrize(
    ("name", "has_factors"), [("BBalocal.xf", True), ("BBalocal_patch-tracking.xf", False)]
)
def test_reads_imods_own_files(data, tmp_path, name, has_factors):
    local = read_local_xf(data / "imod" / "BB" / name, 61)
    assert local.n_areas_xy == (2, 2)
    assert local.n_views == 61
    assert local.pixel_size_angstrom == 20.2
    assert (local.z_factors is not None) == has_factors
    assert local.x_tilt_change_deg is None
    # Areas differ from the whole by little: rotations near one, shifts of a few pixels.
    np.testing.assert_allclose(local.transforms[:, :, 0, 0], 1.0, atol=0.02)
    assert np.abs(local.transforms[:, :, :, 2]).max() < 10
    write_local_xf(tmp_path / "again.xf", local)
    again = read_local_xf(tmp_path / "again.xf", 61)
    np.testing.assert_allclose(again.transforms, local.transforms, atol=1e-9)
    np.testing.assert_allclose(again.tilt_change_deg, local.tilt_change_deg, atol=1e-4)


def test_x_tilts_survive(rng, tmp_path):
    local = LocalAlignment(
        (3, 2),
        (100, 120),
        (80, 90),
        2.7,
        rng.normal(size=(6, 7)).round(4),
        rng.normal(size=(6, 7)).round(4),
        None,
        rng.normal(size=(6, 7, 2, 3)).round(6),
    )
    write_local_xf(tmp_path / "a.xf", local)
    again = read_local_xf(tmp_path / "a.xf", 7)
    np.testing.assert_array_equal(again.x_tilt_change_deg, local.x_tilt_change_deg)
    np.testing.assert_array_equal(again.transforms, local.transforms)
    assert (again.first_centre_xy_px, again.spacing_xy_px) == ((100, 120), (80, 90))
    with pytest.raises(DataUnfitError, match="6 views"):
        read_local_xf(tmp_path / "a.xf", 6)
