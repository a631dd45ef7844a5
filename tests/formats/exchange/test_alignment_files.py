"""Alignments found by a series' name: one, none or several; changes of their files are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.aretomo.aln import write_aretomo
from cryoloom.formats.exchange.alignment_files import alignment_digests, find_alignment, read_alignment
from cryoloom.formats.imod.export import write_imod
from cryoloom.formats.relion.relion5 import write_relion5
from cryoloom.model import Pose
from makers.made_series import make_series

PIXEL, SHAPE_YX = 3.0, (96, 130)


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=5, shape_yx=SHAPE_YX, pixel_size_angstrom=PIXEL, rng=rng, step_deg=6.0)
    poses = {
        tilt.acquisition_index: {
            "pose": Pose(
                85.3, tilt.nominal_tilt_deg, shift_xy_angstrom=tuple(rng.uniform(-60, 60, 2).round(2))
            )
        }
        for tilt in made.tilts
    }
    return made.with_tilts(poses)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("TS_01.xf", "imod"),
        ("TS_01_st.aln", "aretomo"),
        ("below/TS_01.xml", "warp"),
        ("TS_01_cets.json", "cets"),
    ],
)
def test_the_only_file_tells_its_program(tmp_path, name, program):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert find_alignment(tmp_path, "TS_01") == (program, path)
    other = "aretomo" if program != "aretomo" else "imod"
    with pytest.raises(DataUnfitError, match=r"holds no alignment of this series; expected TS_01\.xf"):
        find_alignment(tmp_path, "TS_01", other)


def test_several_must_be_chosen_from(tmp_path):
    for name in ("TS_01.xf", "TS_01.aln"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserInputError, match="several alignments of TS_01"):
        find_alignment(tmp_path, "TS_01")
    assert find_alignment(tmp_path, "TS_01", "imod")[1] == tmp_path / "TS_01.xf"
    # As many of one program as of two.
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "TS_01.xf").write_text("")
    with pytest.raises(UserInputError, match="give program, or a folder with one of them"):
        find_alignment(tmp_path, "TS_01", "imod")


@pytest.mark.parametrize(("program", "write"), [("aretomo", write_aretomo), ("relion5", write_relion5)])
def test_poses_come_back(tmp_path, series, program, write):
    write([(series, None)], tmp_path)
    kind, path = find_alignment(tmp_path, series.name, program)
    found = read_alignment(kind, path, series.name, SHAPE_YX, PIXEL)
    at = {round(view.pose.tilt_deg, 2): view.pose for view in found.views}
    for tilt in series.tilts:
        pose = at[round(tilt.pose.tilt_deg, 2)]
        assert pose.axis_deg == pytest.approx(tilt.pose.axis_deg, abs=0.01)
        np.testing.assert_allclose(pose.shift_xy_angstrom, tilt.pose.shift_xy_angstrom, atol=0.01 * PIXEL)


def test_a_changed_file_has_another_digest(tmp_path, series):
    write_imod([(series, None)], tmp_path)
    before = alignment_digests(tmp_path, series.name, "imod")
    assert alignment_digests(tmp_path, series.name, "imod") == before
    path = find_alignment(tmp_path, series.name, "imod")[1]
    assert str(path) in before
    path.write_text(path.read_text() + "\n")
    assert alignment_digests(tmp_path, series.name, "imod")[str(path)] != before[str(path)]


def test_a_damaged_file_is_named(tmp_path, series):
    write_aretomo([(series, None)], tmp_path)
    _, path = find_alignment(tmp_path, series.name, "aretomo")
    path.write_text(path.read_text().replace(".", ","))
    with pytest.raises(DataUnfitError, match=path.name):
        read_alignment("aretomo", path, series.name, SHAPE_YX, PIXEL)
