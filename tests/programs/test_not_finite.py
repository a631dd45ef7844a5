"""What a program writes where it failed - NaN, inf - never becomes a CTF, a shift or a particle.

Images and volumes are held by the engine's gate (tests/engine/worker/test_gates.py); transforms, AreTomo's
rows and frame positions in the tests of their formats.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.ctffind import read_ctffind
from cryoloom.formats.ctf_programs.gctf import read_star_ctf
from cryoloom.formats.imod.defocus import read_defocus_file
from cryoloom.formats.warp.tilt_series import read_warp_ctf
from cryoloom.model import Tomogram
from cryoloom.programs.eman2.eman2_estimate_ctf import Eman2EstimateCtfParams
from cryoloom.programs.eman2.eman2_estimate_ctf import parse as parse_eman2
from cryoloom.programs.warp.warp_align_frames import read_movie_ctf, read_path_angstrom
from cryoloom.programs.warp.warp_pick_by_template import parse as parse_picks
from makers.made_series import aligned, make_series

BAD = ["nan", "inf", "-inf"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_a_line_of_ctffind(tmp_path, bad, column):
    row = ["2", "20100.0", "20000.0", "30.0", "0.1", "0.2", "6.5"]
    row[column] = bad
    path = tmp_path / "spectra.txt"
    path.write_text(f"1 20100.0 20000.0 30.0 0.1 0.2 6.5\n{' '.join(row)}\n")
    with pytest.raises(DataUnfitError, match=r"in line 2 of spectra\.txt is -?(nan|inf); expected"):
        read_ctffind(path)


@pytest.mark.parametrize("bad", BAD)
def test_a_row_of_gctf(tmp_path, bad):
    path = tmp_path / "ctf.star"
    names = ("MicrographName", "DefocusU", "DefocusV", "DefocusAngle")
    head = "".join(f"_rln{name} #{i}\n" for i, name in enumerate(names, 1))
    path.write_text(
        f"data_\n\nloop_\n{head}000001@a.mrcs {bad} 20000.0 1.0\n000002@a.mrcs 2000.0 20000.0 1.0\n"
    )
    with pytest.raises(DataUnfitError, match=r"the defocus in ctf\.star is"):
        read_star_ctf(path)


@pytest.mark.parametrize("bad", BAD)
def test_a_line_of_ctfplotter(tmp_path, bad):
    path = tmp_path / "stack.defocus"
    path.write_text(f"1 1 -3.00 -3.00 {bad} 2\n2 2 0.00 0.00 2000.0\n")
    with pytest.raises(DataUnfitError, match="the line of views 1 to 1 of the defocus file is"):
        read_defocus_file(path)


@pytest.mark.parametrize("bad", ["NaN", "Infinity"])
def test_an_image_of_eman2(tmp_path, bad):
    series = make_series(n_tilts=3, shape_yx=(8, 8))
    path = tmp_path / "stack_info.json"
    path.write_text(f'{{"defocus": [2.0, {bad}, 2.2], "phase": {json.dumps([10.0] * 3)}}}')
    with pytest.raises(DataUnfitError, match=r"the defocus in image 2 of stack_info\.json is (nan|inf)"):
        parse_eman2(path, series, Eman2EstimateCtfParams())
    path.write_text(f'{{"defocus": [2.0, 2.1, 2.2], "phase": [10.0, {bad}, 10.0]}}')
    with pytest.raises(DataUnfitError, match="holds phases that are not finite"):
        parse_eman2(path, series, Eman2EstimateCtfParams(phase_range_deg=(10.0, 170.0, 10.0)))


def test_a_movie_of_warp(tmp_path):
    path = tmp_path / "0001.xml"
    path.write_text('<Movie><CTF><Param Name="Defocus" Value="NaN"/></CTF></Movie>')
    with pytest.raises(DataUnfitError, match=r"the defocus in 0001\.xml is nan"):
        read_movie_ctf(path)
    nodes = '<Node X="0" Y="0" Z="0" Value="NaN"/>'
    path.write_text(f'<Movie><GridMovementX Depth="1">{nodes}</GridMovementX></Movie>')
    with pytest.raises(DataUnfitError, match="GridMovementX of Warp has nodes without a value"):
        read_path_angstrom(path)


def test_a_series_of_warp(tmp_path):
    path = tmp_path / "stack.xml"
    path.write_text(
        "<TiltSeries><Angles>-3\n0\n3</Angles><CTF>"
        '<Param Name="Defocus" Value="2.0"/><Param Name="DefocusAngle" Value="NaN"/></CTF></TiltSeries>'
    )
    with pytest.raises(DataUnfitError, match=r"the astigmatism angle in tilt 1 of stack\.xml is nan"):
        read_warp_ctf(path)


@pytest.mark.parametrize("column", range(7))
def test_a_pick_of_warp(tmp_path, column):
    series = aligned(make_series(n_tilts=3, shape_yx=(8, 8)))
    tomogram = Tomogram(series, np.zeros((4, 8, 8), np.float32), 10.0)
    names = ["CoordinateX", "CoordinateY", "CoordinateZ", "AngleRot", "AngleTilt", "AnglePsi"]
    names.append("AutopickFigureOfMerit")
    row = ["0.5", "0.5", "0.5", "10.0", "20.0", "30.0", "7.0"]
    row[column] = "nan"
    head = "".join(f"_rln{name} #{i}\n" for i, name in enumerate(names, 1))
    path = tmp_path / "picks.star"
    path.write_text(f"data_\n\nloop_\n{head}{' '.join(row)}\n")
    with pytest.raises(DataUnfitError, match=r"picks\.star holds positions, angles or scores that are not"):
        parse_picks(path, tomogram)
