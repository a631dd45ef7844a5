"""RELION 4's tomograms as WarpTools writes them: angles from matrices, doses, exclusions and the hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.formats.relion.tomograms4 import read_relion4_tomograms
from cryoloom.geometry.projection import projection_matrices

TILTS = ((0.0, 0.0), (10.0, 3.0), (-10.0, 6.0))  # angle and dose before it
AXIS_DEG, X_TILT_DEG = 84.0, 1.5


def star_text(hand=-1, excluded=2, tilt_block="data_TS_1.tomostar"):
    lines = [
        "data_global", "", "loop_",
        *(f"_{name}" for name in (
            "rlnTomoName", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
            "rlnTomoTiltSeriesPixelSize", "rlnTomoHand", "rlnTomoImportFractionalDose",
        )),
        f"TS_1.tomostar 300 2.7 0.1 1.5 {hand} 3.0", "",
        tilt_block, "", "loop_",
        *(f"_{name}" for name in (
            "rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnDefocusU", "rlnDefocusV",
            "rlnDefocusAngle", "rlnMicrographPreExposure", "rlnCtfScalefactor",
        )),
    ]  # fmt: skip
    for i in (2, 0, 1):  # as files are: by angle, not by time
        angle, dose = TILTS[i]
        rows = projection_matrices(AXIS_DEG, angle, X_TILT_DEG)
        matrix = " ".join("[" + ",".join(f"{v:.8f}" for v in row) + ",0]" for row in rows)
        lines.append(f"{matrix} {30000 + i} {29000 + i} 35.5 {dose} {0 if i == excluded else 0.9}")
    return "\n".join([*lines, ""])


@pytest.fixture
def star(tmp_path):
    def write(**changes):
        path = tmp_path / "x_tomograms.star"
        path.write_text(star_text(**changes))
        return path

    return write


def test_tilts_have_the_angles_of_their_matrices_and_the_order_of_their_doses(star):
    (series,) = read_relion4_tomograms(star()).values()
    assert series.name == "TS_1"
    assert series.pixel_size_angstrom == 1.5
    assert series.microscope.voltage_kv == 300
    by_row = sorted(series.tilts, key=lambda tilt: tilt.section)
    assert [tilt.acquisition_index for tilt in by_row] == [2, 0, 1]
    for tilt in series.tilts:
        angle, dose = TILTS[tilt.acquisition_index]
        assert tilt.pose.tilt_deg == pytest.approx(angle, abs=1e-4)
        assert tilt.pose.axis_deg == pytest.approx(AXIS_DEG, abs=1e-4)
        assert tilt.pose.x_tilt_deg == pytest.approx(X_TILT_DEG, abs=1e-4)
        assert (tilt.dose_start_per_angstrom2, tilt.dose_end_per_angstrom2) == (dose, dose + 3.0)
        assert tilt.ctf.defocus_u_angstrom == 30000 + tilt.acquisition_index
        assert tilt.ctf.astigmatism_angle_deg == 35.5


def test_a_tilt_of_no_weight_is_excluded_with_a_reason(star):
    (series,) = read_relion4_tomograms(star()).values()
    assert [tilt.acquisition_index for tilt in series.tilts if tilt.exclusion is not None] == [2]
    assert len(series.included) == 2


@pytest.mark.parametrize("hand", [-1, 1])
def test_relions_hand_is_the_opposite_of_ours(star, hand):
    (series,) = read_relion4_tomograms(star(hand=hand)).values()
    assert series.handedness.told == -hand


def test_a_file_without_tilts_or_tomograms_says_what_it_has(star, tmp_path):
    with pytest.raises(DataUnfitError, match=r"lists TS_1\.tomostar, but not its tilts; it has the blocks"):
        read_relion4_tomograms(star(tilt_block="data_TS_9"))
    other = tmp_path / "particles.star"
    other.write_text("data_particles\n\nloop_\n_rlnCoordinateX\n1.0\n")
    with pytest.raises(DataUnfitError, match="lists no tomogram in a block 'global'"):
        read_relion4_tomograms(other)


def test_poses_of_warptools_own_file_are_its_matrices(data):
    path = next((data / "sta/warptools").glob("*_tomograms.star"))
    blocks = read_blocks(path)
    found = read_relion4_tomograms(path)
    assert len(found) == 4
    for series in found.values():
        rows = blocks[f"{series.name}.tomostar"]
        assert len(rows) == len(series.tilts)
        for tilt in series.tilts:
            written = [json.loads(rows[tilt.section][f"rlnTomoProj{axis}"])[:3] for axis in "XYZ"]
            np.testing.assert_allclose(tilt.pose.matrix, written, atol=1e-4)
        in_order = sorted(series.tilts, key=lambda tilt: tilt.acquisition_index)
        assert np.all(np.diff([tilt.dose_start_per_angstrom2 for tilt in in_order]) >= 0)
