"""A series to every program that series are exchanged with, and back: what survives, to 0.001 pixel.

One table says what each program's files have a place for. The series is odd on purpose: uneven shifts, an
x-tilt, astigmatism, two excluded tilts that are not at the ends, images that are not square.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.formats.aretomo.aln import write_aretomo
from cryoloom.formats.ctf_programs.ctf_files import find_ctf, read_ctf
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.exchange.alignment_files import find_alignment, read_alignment
from cryoloom.formats.exchange.cets_series import write_cets_series
from cryoloom.formats.imod.export import write_imod
from cryoloom.formats.relion.relion5 import read_relion5_tilt_series, write_relion5
from cryoloom.formats.warp.tilt_series import write_warp
from cryoloom.geometry.projection import project, projection_matrices
from cryoloom.model import Ctf, Exclusion, Pose, Sourced
from cryoloom.procedures import foreign_poses
from cryoloom.steps.import_alignment import ImportAlignmentParams, import_alignment
from makers.context import MemoryContext
from makers.made_series import make_series

PIXEL, SHAPE_YX = 3.0, (96, 130)
EXCLUDED = (2, 5)

# What a program's files say of a tilt, besides its pose.
PROGRAMS = {
    "relion5": {"write": write_relion5, "x_tilt": True, "ctf": "star", "dose": True},
    "imod": {"write": write_imod, "x_tilt": True, "ctf": "imod", "dose": False},
    "aretomo": {"write": write_aretomo, "x_tilt": False, "ctf": "aretomo", "dose": True},
    "warp": {"write": write_warp, "x_tilt": True, "ctf": "warp", "dose": True},
    "cets": {"write": write_cets_series, "x_tilt": True, "ctf": "cets", "dose": True},
}


@pytest.fixture(params=sorted(PROGRAMS))
def program(request):
    return request.param


@pytest.fixture(params=[1.0, -1.0])
def series(request, program, rng):
    made = make_series(n_tilts=9, shape_yx=SHAPE_YX, pixel_size_angstrom=PIXEL, rng=rng, step_deg=6.0)
    x_tilt = 1.3 if PROGRAMS[program]["x_tilt"] else 0.0
    changes = {}
    for tilt in made.tilts:
        k = tilt.acquisition_index
        u = float(rng.uniform(20000, 40000))
        changes[k] = {
            "pose": Pose(
                85.3, tilt.nominal_tilt_deg + 0.37, x_tilt_deg=x_tilt,
                shift_xy_angstrom=tuple(rng.uniform(-60, 60, 2).round(2)),
            ),
            "ctf": Ctf(u, u - 700.0, float(rng.uniform(-80, 80)), refers_to="origin"),
        }  # fmt: skip
        if k in EXCLUDED:
            changes[k] = {"exclusion": Exclusion.by_user("ice")}
    return replace(
        made.with_tilts(changes),
        tilt_axis_deg=Sourced.from_told(85.3, "test"),
        handedness=Sourced.from_told(request.param, "test"),
    )


@pytest.fixture(autouse=True)
def no_search(monkeypatch):
    """Where the specimen is has nothing to do with what files hold."""
    monkeypatch.setattr(foreign_poses, "load_tilt_images", lambda *given, **how: None)
    monkeypatch.setattr(foreign_poses, "place_specimen", lambda aligned, *given, **how: aligned)


@pytest.fixture
def back(program, series, tmp_path):
    """The series as it was before its alignment, with what the program's files give it."""
    PROGRAMS[program]["write"]([(series, None)], tmp_path)
    bare = series.with_tilts(
        {t.acquisition_index: {"pose": None, "ctf": None, "exclusion": None} for t in series.tilts}
    )
    found = import_alignment(bare, ImportAlignmentParams(folder=tmp_path, program=program), MemoryContext())
    whose = PROGRAMS[program]["ctf"]
    _, path = find_ctf(tmp_path, series.name, whose)
    read = read_ctf(whose, path, found)
    ctfs = {
        i: {"ctf": replace(ctf, refers_to=read.refers_to)} for i, ctf in ctfs_by_tilt(read, found).items()
    }
    return with_defocus_at_origin(found.with_tilts(ctfs), assume_centred=True)


POINTS = np.array([[100.0, -80.0, 60.0], [-150.0, 40.0, -90.0], [0.0, 120.0, 30.0], [0.0, 0.0, 0.0]])


def test_every_point_is_seen_where_it_was(series, back):
    pairs = list(zip(series.included, back.included, strict=True))
    assert [a.acquisition_index for a, _ in pairs] == [b.acquisition_index for _, b in pairs]

    def seen(tilts):
        poses = [tilt.pose for tilt in tilts]
        angles = [[getattr(pose, name) for pose in poses] for name in ("axis_deg", "tilt_deg", "x_tilt_deg")]
        shifts = np.array([pose.shift_xy_angstrom for pose in poses])
        return project(POINTS, projection_matrices(*angles), shifts)

    assert_allclose(seen([b for _, b in pairs]) / PIXEL, seen([a for a, _ in pairs]) / PIXEL, atol=1.0e-3)


def test_excluded_tilts_stay_excluded(back):
    assert {tilt.acquisition_index for tilt in back.tilts if tilt.is_excluded} == set(EXCLUDED)


def test_ctfs_are_those_of_their_tilts(series, back):
    for a, b in zip(series.included, back.included, strict=True):
        # IMOD's files have a hundredth of a nanometre.
        assert b.ctf.defocus_u_angstrom == pytest.approx(a.ctf.defocus_u_angstrom, abs=0.06)
        assert b.ctf.defocus_v_angstrom == pytest.approx(a.ctf.defocus_v_angstrom, abs=0.06)
        turn = (b.ctf.astigmatism_angle_deg - a.ctf.astigmatism_angle_deg + 90) % 180 - 90
        assert turn == pytest.approx(0.0, abs=0.05)


def test_the_handedness_comes_back(series, program, tmp_path):
    """Files of a defocus for one handedness say it; others leave it to the user."""
    PROGRAMS[program]["write"]([(series, None)], tmp_path)
    whose = PROGRAMS[program]["ctf"]
    handedness = read_ctf(whose, find_ctf(tmp_path, series.name, whose)[1], series).handedness
    expected = {"cets": {1.0: 1, -1.0: -1}, "imod": {1.0: None, -1.0: -1}}
    assert handedness == expected.get(program, {}).get(series.handedness.applied)


def test_doses_in_the_files(series, program, tmp_path):
    if not PROGRAMS[program]["dose"]:
        pytest.skip("its alignment files hold no dose")
    PROGRAMS[program]["write"]([(series, None)], tmp_path)
    if program == "relion5":
        found = read_relion5_tilt_series(tmp_path / "tilt_series.star", series.name)
        assert [t.dose_start_per_angstrom2 for t in found.tilts] == pytest.approx(
            [t.dose_start_per_angstrom2 for t in series.included]
        )
        assert found.handedness.applied == series.handedness.applied
        return
    if program == "aretomo":
        rows = [line.split() for line in (tmp_path / f"{series.name}_TLT.txt").read_text().splitlines()]
        by_section = sorted(series.tilts, key=lambda tilt: tilt.section)
        assert [int(row[1]) - 1 for row in rows] == [tilt.acquisition_index for tilt in by_section]
        assert [float(row[2]) for row in rows] == pytest.approx([3.0] * len(by_section))
        return
    _, path = find_alignment(tmp_path, series.name, program)
    views = read_alignment(program, path, series.name, SHAPE_YX, PIXEL).views
    doses = sorted(view.dose_start_per_angstrom2 for view in views)
    assert doses == pytest.approx(sorted(t.dose_start_per_angstrom2 for t in series.tilts), abs=1e-3)
