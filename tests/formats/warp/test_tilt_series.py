"""Warp's tilt series: what it imported from an .xf, its projection, and export read back."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import starfile

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.imod.transforms import poses_from_xf
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.warp.tilt_series import read_warp, read_warp_ctf, write_warp
from cryoloom.model import Ctf, Exclusion, ImageWarp, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from makers.ctf_series import assert_same_ctfs


def make_series(rng, *, x_tilt=0.0, handedness=1.0):
    tilts = tuple(
        Tilt(
            i,
            angle,
            3.0 * i,
            3.0 * i + 3.0,
            section=i,
            pose=Pose(-85.0 + rng.normal(), angle + 1.3, x_tilt, tuple(rng.normal(0, 50, 2))),
            exclusion=Exclusion.by_step("dark", "select_tilts") if i == 3 else None,
            ctf=Ctf(40000.0 + i, 38000.0, 30.0, phase_shift_deg=90.0),
        )
        for i, angle in enumerate([0.0, 20.0, -20.0, -40.0, 40.0])
    )
    images = rng.normal(size=(5, 40, 60)).astype(np.float32)
    series = TiltSeries("TS_01", Microscope(), 2.7, tilts, stack=Stack(images, 2.7, images + 1, images - 1))
    return replace(series, handedness=Sourced.from_told(handedness, "user"))


def test_poses_exclusions_and_images_survive(rng, tmp_path):
    series = make_series(rng, x_tilt=1.5)
    paths = write_warp([(series, None)], tmp_path)
    assert all(path.is_file() for path in paths)
    found = read_warp(tmp_path / "warp_tiltseries" / "TS_01.xml")
    by_section = sorted(series.tilts, key=lambda tilt: tilt.section)
    assert [view.used for view in found.views] == [True, True, True, False, True]
    for view, tilt in zip(found.views, by_section, strict=True):
        assert replace(view.pose, tilt_deg=0.0) == replace(tilt.pose, tilt_deg=0.0)
        assert view.pose.tilt_deg == pytest.approx(tilt.pose.tilt_deg, abs=1e-12)
        assert view.tilt_deg == pytest.approx(tilt.nominal_tilt_deg, abs=1e-6)
        assert view.dose_start_per_angstrom2 == tilt.dose_start_per_angstrom2
    root = ElementTree.parse(tmp_path / "warp_tiltseries" / "TS_01.xml").getroot()
    for tilt, name in zip(by_section, root.find("MoviePath").text.split(), strict=True):
        movie = (tmp_path / "warp_tiltseries" / name).resolve()
        for folder, pixels in (("average", series.stack.images), ("average/even", series.stack.even)):
            image = MrcPixels(movie.parent / folder / movie.name)
            np.testing.assert_array_equal(np.squeeze(image[...]), pixels[tilt.section])
    star = starfile.read(tmp_path / "tomostar" / "TS_01.tomostar")
    assert list(star["wrpMovieName"]) == root.find("MoviePath").text.split()
    assert list(star["wrpDose"]) == [tilt.dose_start_per_angstrom2 for tilt in by_section]


@pytest.mark.parametrize(("handedness", "inverted"), [(1.0, "False"), (-1.0, "True")])
def test_defocus_is_written_as_warp_defines_it(rng, tmp_path, handedness, inverted):
    """Warp: defocus = grid + z' / 1e4 in its volume, or in ours, which is mirrored, with inverted angles."""
    series = make_series(rng, handedness=handedness)
    write_warp([(series, None)], tmp_path)
    root = ElementTree.parse(tmp_path / "warp_tiltseries" / "TS_01.xml").getroot()
    assert root.get("AreAnglesInverted") == inverted
    values = {
        name: [float(node.get("Value")) for node in root.find(name)]
        for name in ("GridCTF", "GridCTFDefocusDelta", "GridCTFPhase")
    }
    assert values["GridCTF"][2] == pytest.approx(3.9001)
    assert values["GridCTFDefocusDelta"][2] == pytest.approx(0.2002)
    assert values["GridCTFPhase"] == [0.5] * 5


def test_ctfs_survive(rng, tmp_path):
    series = make_series(rng)
    write_warp([(series, None)], tmp_path)
    found = ctfs_by_tilt(read_warp_ctf(tmp_path / "warp_tiltseries" / "TS_01.xml"), series)
    assert_same_ctfs(found, series, to_angstrom=1e-3)


def warp_ctf(grids: str) -> str:
    return (
        "<TiltSeries><Angles>-20 0</Angles><Dose>3 0</Dose><CTF><Param Name='Defocus' Value='4.1'/>"
        f"<Param Name='DefocusDelta' Value='-0.2'/><Param Name='DefocusAngle' Value='10'/></CTF>"
        f"{grids}</TiltSeries>"
    )


def test_grids_of_one_value_or_of_none_speak_for_all_tilts(rng, tmp_path):
    nodes = "<Node X='0' Y='0' Z='0' Value='4'/><Node X='1' Y='0' Z='0' Value='4.4'/>"
    path = tmp_path / "TS_01.xml"
    path.write_text(warp_ctf(f"<GridCTF Width='2' Height='1' Depth='1'>{nodes}</GridCTF>"))
    found = ctfs_by_tilt(read_warp_ctf(path), make_series(rng))
    assert sorted(found) == [0, 2]
    for ctf in found.values():
        # Mean of the plane 4.2 um; a negative difference turns the direction of the larger defocus.
        assert (ctf.defocus_u_angstrom, ctf.defocus_v_angstrom) == pytest.approx((43000.0, 41000.0))
        assert ctf.astigmatism_angle_deg == pytest.approx(-80.0)


def test_grids_between_are_refused(rng, tmp_path):
    path = tmp_path / "TS_01.xml"
    nodes = "".join(f"<Node Z='{z}' Value='3'/>" for z in range(3))
    path.write_text(warp_ctf(f"<GridCTF Depth='3'>{nodes}</GridCTF>"))
    with pytest.raises(DataUnfitError, match="GridCTF has 3 values for 2 tilts"):
        read_warp_ctf(path)
    path.write_text("<TiltSeries><Angles>0</Angles></TiltSeries>")
    with pytest.raises(DataUnfitError, match="run WarpTools ts_ctf"):
        read_warp_ctf(path)


def test_reads_what_warp_imported(tmp_path):
    """Lines of the .xf of EMPIAR-10499 00254 at 10 A/px, and what Warp's own XML holds after importing them
    (warpylib's test data, MIT): -4.2999735 deg and the first two offsets."""
    transforms = [
        [[0.9971855, -0.0749783, -27.094], [0.0749783, 0.9971855, -2.191]],
        [[0.9971855, -0.0749783, -22.828], [0.0749783, 0.9971855, -1.326]],
    ]
    text = (
        '<TiltSeries LevelAngleX="1.5" LevelAngleY="-6"><Angles>-60.01\n-57</Angles><AxisAngle>-4.2999735\n'
        "-4.2999735</AxisAngle><AxisOffsetX>271.8203\n228.6318</AxisOffsetX><AxisOffsetY>1.5337\n"
        "-3.8931</AxisOffsetY></TiltSeries>"
    )
    (tmp_path / "00254.xml").write_text(text)
    found = read_warp(tmp_path / "00254.xml")
    # Warp takes IMOD's middle for pixel n / 2 where ours is; the half pixel is between the two readings.
    poses = poses_from_xf(transforms, [-66.01, -63.0], 10.0, (630, 652))
    for view, pose in zip(found.views, poses, strict=True):
        assert view.pose.axis_deg == pytest.approx(pose.axis_deg, abs=1e-4)
        assert view.pose.tilt_deg == pytest.approx(pose.tilt_deg)
        assert view.pose.x_tilt_deg == -1.5
        np.testing.assert_allclose(
            view.pose.shift_xy_angstrom, np.array(pose.shift_xy_angstrom) + 5.0, atol=2e-3
        )


def test_warp_projects_as_our_pose():
    """Matrix of Warp's code (warpylib, checked there against C#): axis -84.3, angle 37, level 1.5 and -6."""
    warp = np.array([[0.085134, 0.993376, -0.077183], [-0.852929, 0.112701, 0.509716]])
    ours = Pose(-84.3, 37.0 - 6.0, -1.5).matrix[:2]
    np.testing.assert_allclose(ours, warp * [1, 1, -1], atol=1e-6)  # its volume is mirrored in z


def test_grids_of_the_volume_are_mentioned(tmp_path):
    text = (
        "<TiltSeries><Angles>1</Angles><AxisAngle>2</AxisAngle><AxisOffsetX>3</AxisOffsetX><AxisOffsetY>4"
        '</AxisOffsetY><GridVolumeWarpX><Node Value="3.5"/></GridVolumeWarpX></TiltSeries>'
    )
    (tmp_path / "a.xml").write_text(text)
    assert "GridVolumeWarpX" in read_warp(tmp_path / "a.xml").notes[0]


def test_local_displacements_survive(rng, tmp_path):
    series = make_series(rng)
    warp = ImageWarp.of_controls(rng.normal(0, 20, (4, 4, 2)), (162.0, 108.0))
    moved = series.with_tilts({1: {"pose": replace(series.tilts[1].pose, warp=warp)}})
    write_warp([(moved, None)], tmp_path)
    assert not (tmp_path / "NOTES.txt").is_file()
    found = read_warp(tmp_path / "warp_tiltseries" / "TS_01.xml")
    places = rng.uniform(-0.5, 0.5, (200, 2)) * (162, 108)
    for view, tilt in zip(found.views, sorted(moved.tilts, key=lambda tilt: tilt.section), strict=True):
        shift = np.array(view.pose.shift_xy_angstrom) - tilt.pose.shift_xy_angstrom
        seen, expected = np.zeros_like(places), np.zeros_like(places)
        if tilt.pose.warp is not None:
            expected = tilt.pose.warp.displacement(places)
            seen = shift + view.pose.warp.displacement(places + shift)
        else:
            assert view.pose.warp is None
            np.testing.assert_allclose(shift, 0.0, atol=1e-9)
        assert np.sqrt(((seen - expected) ** 2).sum(axis=1).mean()) < 0.4  # of displacements of 20 A


def test_refuses_other_xml_and_unaligned_series(rng, tmp_path):
    (tmp_path / "a.xml").write_text("<Movie/>")
    with pytest.raises(DataUnfitError, match="not a tilt series of Warp"):
        read_warp(tmp_path / "a.xml")
    series = make_series(rng)
    unaligned = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="not aligned"):
        write_warp([(unaligned, None)], tmp_path)


def test_movement_grids_of_a_file_that_lost_the_size_of_its_images(rng, tmp_path):
    """Warp that saves a series again without its images writes ImageDimensionsAngstrom 0, 0."""
    controls = np.zeros((4, 4, 2))
    controls[..., 0] = np.linspace(-5, 5, 4)
    warp = ImageWarp.of_controls(controls, (162.0, 108.0))
    series = make_series(rng)
    poses = {t.acquisition_index: {"pose": replace(t.pose, warp=warp)} for t in series.tilts}
    write_warp([(series.with_tilts(poses), None)], tmp_path)
    path = tmp_path / "warp_tiltseries" / "TS_01.xml"
    whole = read_warp(path)
    path.write_text(
        re.sub(r'ImageDimensionsAngstrom="[^"]*"', 'ImageDimensionsAngstrom="0, 0"', path.read_text())
    )
    with pytest.raises(DataUnfitError, match="ImageDimensionsAngstrom"):
        read_warp(path)
    assert read_warp(path, (162.0, 108.0)).views == whole.views


@pytest.mark.parametrize(
    ("matrix", "note"),
    [
        ("1, 0, 0, 1", None),
        ("1.01, 0, 0, 0.99", "positions at the edge of an image are off by up to 1.0 A"),
        ("1,01", "MagnificationCorrection"),
    ],
)
def test_a_magnification_that_is_not_used_is_noted(rng, tmp_path, matrix, note):
    write_warp([(make_series(rng), None)], tmp_path)
    path = tmp_path / "warp_tiltseries" / "TS_01.xml"
    text = path.read_text().replace(
        'MagnificationCorrection="1, 0, 0, 1"', f'MagnificationCorrection="{matrix}"'
    )
    path.write_text(text)
    notes = read_warp(path, (162.0, 108.0)).notes
    assert any(note in one for one in notes) if note and matrix != "1,01" else not notes
