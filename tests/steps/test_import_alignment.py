"""import_alignment: poses of all four programs come back, matched tilt by tilt, or the series is refused."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.aretomo.aln import read_aln, write_aln, write_aretomo
from cryoloom.formats.exchange.cets_series import write_cets_series
from cryoloom.formats.imod.export import write_imod
from cryoloom.formats.imod.transforms import read_angles, read_xf, write_angles, write_xf
from cryoloom.formats.relion.relion5 import read_relion5_tilt_series, write_relion5
from cryoloom.formats.warp.tilt_series import write_warp
from cryoloom.model import Ctf, DecidedBy, Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.import_alignment import ImportAlignmentParams, import_alignment

WRITERS = {
    "imod": write_imod,
    "aretomo": write_aretomo,
    "warp": write_warp,
    "relion5": write_relion5,
    "cets": write_cets_series,
}
ANGLES = np.arange(-30.0, 31.0, 3.0)


def make_series(rng, *, excluded=(5, 18), shape=(40, 60), pixel_size=2.7):
    """Dose-symmetric, sections in order of acquisition; excluded by acquisition index."""
    acquired = np.argsort(np.argsort(np.abs(ANGLES), kind="stable"))
    tilts = tuple(
        Tilt(
            int(k),
            float(angle),
            3.0 * k,
            3.0 * k + 3.0,
            section=int(k),
            pose=Pose(84.0 + 0.1 * rng.normal(), angle + 9.2, 0.0, tuple(rng.normal(0, 60, 2))),
            ctf=Ctf(40000.0, 39000.0, 10.0),
            exclusion=Exclusion.by_step("dark", "select_tilts") if k in excluded else None,
        )
        for angle, k in zip(ANGLES, acquired, strict=True)
    )
    images = rng.normal(size=(len(ANGLES), *shape)).astype(np.float32)
    return TiltSeries("TS_01", Microscope(), pixel_size, tilts, stack=Stack(images, pixel_size))


def without_poses(series):
    changes = {t.acquisition_index: {"pose": None, "exclusion": None} for t in series.tilts}
    return series.with_tilts(changes)


@pytest.mark.parametrize("program", ["imod", "aretomo", "warp", "relion5", "cets"])
def test_every_programs_files_bring_the_poses_back(rng, context, tmp_path, program):
    series = make_series(rng)
    WRITERS[program]([(series, None)], tmp_path)
    back = import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)
    assert {t.acquisition_index for t in back.tilts if t.is_excluded} == {5, 18}
    for tilt, was in zip(back.included, series.included, strict=True):
        assert tilt.acquisition_index == was.acquisition_index
        assert tilt.pose.axis_deg == pytest.approx(was.pose.axis_deg, abs=2e-6)
        assert tilt.pose.tilt_deg == pytest.approx(was.pose.tilt_deg, abs=2e-6)
        np.testing.assert_allclose(tilt.pose.shift_xy_angstrom, was.pose.shift_xy_angstrom, atol=1e-5)
        assert tilt.ctf == was.ctf
    assert back.tilt_offset_deg.applied == pytest.approx(9.2, abs=1e-5)
    assert back.tilt_axis_deg.measured_by.startswith(program)
    assert context.figures["n_left_out"] == 2


@pytest.mark.parametrize("program", ["imod", "aretomo"])
def test_the_opposite_direction_of_the_axis_turns_the_handedness(rng, context, tmp_path, program):
    """The other program's specimen is mirrored; the defocus gradient of the images is the same."""
    series = make_series(rng)
    WRITERS[program]([(series, None)], tmp_path)
    hand = Sourced().with_measured(1.0, "estimate_ctf", apply=True)
    nominal = replace(without_poses(series), tilt_axis_deg=Sourced.from_told(-96.0, "mdoc"), handedness=hand)
    back = import_alignment(nominal, ImportAlignmentParams(folder=tmp_path), context)
    assert back.handedness.applied == -1.0
    assert any("by the metadata the tomogram is the mirror image" in warning for warning in context.warnings)
    same = import_alignment(
        replace(nominal, tilt_axis_deg=Sourced.from_told(83.0, "mdoc")),
        ImportAlignmentParams(folder=tmp_path),
        context,
    )
    assert same.handedness.applied == 1.0


def test_an_axis_far_from_the_known_one_is_noted(rng, context, tmp_path):
    """Transforms of no rotation: the other program was given, or left, images that are not turned."""
    series = replace(make_series(rng), tilt_axis_deg=Sourced.from_told(84.0, "mdoc"))
    write_imod([(series, None)], tmp_path)
    import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)
    assert not any("deg apart" in warning for warning in context.warnings)
    (tmp_path / "TS_01" / "TS_01.xf").write_text("1 0 0 1 0 0\n" * len(ANGLES))
    import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)
    assert any("TS_01.xf has the tilt axis at 0.0 deg, TS_01 at 84.0 deg" in w for w in context.warnings)


def test_images_binned_since_keep_their_geometry(rng, context, tmp_path):
    """AreTomo and IMOD count pixels: of the images they had, which its file or the user tells."""
    series = make_series(rng, shape=(80, 120))
    write_aretomo([(series, None)], tmp_path)
    small = replace(without_poses(series), stack=Stack(np.zeros((len(ANGLES), 40, 60), np.float32), 5.4))
    back = import_alignment(small, ImportAlignmentParams(folder=tmp_path), context)
    for tilt, was in zip(back.included, series.included, strict=True):
        np.testing.assert_allclose(tilt.pose.shift_xy_angstrom, was.pose.shift_xy_angstrom, atol=1e-5)


def test_aretomos_files_for_imod_are_found_and_matched_by_angle(rng, context, tmp_path):
    """NAME_Imod/NAME_st.xf with dark images missing, sorted by tilt: lines are no sections."""
    series = make_series(rng)
    write_imod([(series, None)], tmp_path / "from")
    folder = tmp_path / "to" / "TS_01_Imod"
    folder.mkdir(parents=True)
    order = [t.section for t in series.included]
    write_xf(folder / "TS_01_st.xf", read_xf(tmp_path / "from" / "TS_01" / "TS_01.xf")[order])
    write_angles(folder / "TS_01_st.tlt", read_angles(tmp_path / "from" / "TS_01" / "TS_01.tlt")[order] - 9.2)
    back = import_alignment(
        without_poses(series), ImportAlignmentParams(folder=tmp_path / "to", exclude=False), context
    )
    assert {t.acquisition_index for t in back.tilts if t.is_excluded} == {5, 18}
    for tilt, was in zip(back.included, series.included, strict=True):
        np.testing.assert_allclose(tilt.pose.shift_xy_angstrom, was.pose.shift_xy_angstrom, atol=1e-5)


def test_views_shifted_by_one_are_refused(rng, context, tmp_path):
    series = make_series(rng)
    write_imod([(series, None)], tmp_path)
    for suffix in (".tlt", ".rawtlt"):
        path = tmp_path / "TS_01" / f"TS_01{suffix}"
        write_angles(path, np.roll(read_angles(path), 1))
    with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
        import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)


def test_the_users_word_stays(rng, context, tmp_path):
    series = make_series(rng, excluded=())
    write_aretomo([(series, None)], tmp_path)
    unposed = without_poses(series).with_tilts({2: {"exclusion": Exclusion.by_user("ugly")}})
    back = import_alignment(unposed, ImportAlignmentParams(folder=tmp_path), context)
    assert {t.acquisition_index: t.exclusion.by for t in back.tilts if t.is_excluded} == {
        2: DecidedBy("user")
    }


def test_nothing_or_too_much_is_refused(rng, context, tmp_path):
    series = make_series(rng)
    with pytest.raises(DataUnfitError, match="no alignment of this series"):
        import_alignment(series, ImportAlignmentParams(folder=tmp_path), context)
    with pytest.raises(UserInputError, match="not a folder"):
        import_alignment(series, ImportAlignmentParams(folder=tmp_path / "none"), context)
    write_aretomo([(series, None)], tmp_path)
    write_imod([(series, None)], tmp_path)
    with pytest.raises(UserInputError, match="several alignments"):
        import_alignment(series, ImportAlignmentParams(folder=tmp_path), context)
    back = import_alignment(series, ImportAlignmentParams(folder=tmp_path, program="aretomo"), context)
    assert back.tilt_axis_deg.measured_by == "aretomo: TS_01.aln"


def test_relions_own_project_gives_its_poses(data, context):
    """RELION 5's alignment of EMPIAR-10164 TS_01 onto the same tilts without poses."""
    folder = data / "relion5" / "empiar-10164" / "AlignTiltSeries" / "job005"
    relion = read_relion5_tilt_series(folder / "aligned_tilt_series.star", "TS_01")
    series = replace(
        without_poses(relion),
        tilts=tuple(replace(t, section=i, pose=None) for i, t in enumerate(relion.tilts)),
        stack=Stack(np.zeros((len(relion.tilts), 38, 37), np.float32), 135.0),
    )
    back = import_alignment(series, ImportAlignmentParams(folder=folder), context)
    for tilt, was in zip(back.tilts, relion.tilts, strict=True):
        assert tilt.pose == was.pose


@pytest.mark.parametrize("program", ["imod", "aretomo", "warp", "relion5"])
def test_a_replaced_file_is_noticed(rng, tmp_path, program):
    """Every file that is read counts, and none of another series."""
    outside = import_alignment.declaration.outside
    params = ImportAlignmentParams(folder=tmp_path, program=program)
    series = make_series(rng)
    other = replace(series, name="TS_02")
    WRITERS[program]([(series, None), (other, None)], tmp_path)
    before = outside("TS_01", params)
    assert before
    WRITERS[program]([(series, None), (make_other(rng), None)], tmp_path)
    assert outside("TS_01", params) == before
    moved = series.with_tilts({3: {"pose": Pose(84.0, -21.0, 0.0, (1.0, 2.0))}})
    WRITERS[program]([(moved, None), (other, None)], tmp_path)
    assert outside("TS_01", params) != before


def make_other(rng):
    return replace(make_series(rng), name="TS_02")


def test_all_of_imods_files_count(rng, tmp_path):
    write_imod([(make_series(rng), None)], tmp_path)
    outside = import_alignment.declaration.outside
    params = ImportAlignmentParams(folder=tmp_path)
    (tmp_path / "TS_01" / "TS_01.xtilt").write_text("0.5\n" * len(ANGLES))
    last = outside("TS_01", params)
    for name in ("TS_01.xf", "TS_01.tlt", "TS_01.rawtlt", "TS_01.xtilt", "tilt.com", "newst.com"):
        path = tmp_path / "TS_01" / name
        path.write_text(path.read_text() + "\n")
        now = outside("TS_01", params)
        assert now != last, name
        last = now


def test_numbers_that_are_none_are_refused_by_their_row(rng, context, tmp_path):
    series = make_series(rng)
    write_aretomo([(series, None)], tmp_path)
    path = tmp_path / "TS_01.aln"
    lines = path.read_text().splitlines()
    i = next(i for i, line in enumerate(lines) if not line.startswith("#")) + 2
    words = lines[i].split()
    words[3] = words[4] = "nan"
    lines[i] = " ".join(words)
    path.write_text("\n".join(lines))
    with pytest.raises(DataUnfitError, match=r"row 3 of TS_01\.aln holds a number that is not finite"):
        import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)


@pytest.mark.parametrize(
    ("tag", "value", "says"),
    [
        (
            "AxisAngle",
            "-856",
            r"TS_01\.xml: the tilt axis is -856; expected -360 to 360 degrees\. The file is damaged",
        ),
        ("AxisAngle", "nan", r"TS_01\.xml: the tilt axis is nan"),
        ("AxisOffsetX", "8000", r"image shift in view 1 of TS_01\.xml is 8000 A in a field of 162 A"),
        ("AxisOffsetX", "1e24", r"TS_01\.xml: the image shift is 1e\+24"),
        ("Angles", "120", r"TS_01\.xml: the tilt angle is 12"),
    ],
)
def test_what_no_pose_can_have_is_refused(rng, context, tmp_path, tag, value, says):
    series = make_series(rng)
    write_warp([(series, None)], tmp_path)
    path = tmp_path / "warp_tiltseries" / "TS_01.xml"
    root = ElementTree.parse(path).getroot()
    element = root.find(tag)
    element.text = "\n".join([value, *element.text.split()[1:]])
    ElementTree.ElementTree(root).write(path)
    with pytest.raises(DataUnfitError, match=says):
        import_alignment(without_poses(series), ImportAlignmentParams(folder=path.parent), context)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("counted", ["all", "others"])
@pytest.mark.parametrize("sorted_stack", [False, True])
@pytest.mark.parametrize("with_local", [False, True])
def test_dark_frames_of_every_version_of_aretomo(
    rng, context, tmp_path, base, counted, sorted_stack, with_local
):
    """SEC counts all sections or only those that are not dark, from 0 or from 1; local rows follow."""
    series = make_series(rng)
    if sorted_stack:
        order = {t.acquisition_index: {"section": i} for i, t in enumerate(series.tilts)}
        series = series.with_tilts(order)
    write_aretomo([(series, None)], tmp_path)
    path = tmp_path / "TS_01.aln"
    aln = read_aln(path)
    assert len(aln.dark_frames) == 2
    raw = aln.section - 1
    if counted == "others":
        dark = {section - 1 for _, section, _ in aln.dark_frames}
        kept = [i for i in range(len(ANGLES)) if i not in dark]
        raw = np.array([kept.index(i) for i in raw])
    local = None
    if with_local:
        local = np.array(
            [[i, p, 20.0 * p - 30, 5.0, 0.5, -0.25, 1.0] for i in range(len(raw)) for p in range(4)]
        )
    dark_frames = tuple((place, section - 1 + base, tilt) for place, section, tilt in aln.dark_frames)
    write_aln(path, replace(aln, section=raw + base, dark_frames=dark_frames, local=local))
    back = import_alignment(without_poses(series), ImportAlignmentParams(folder=tmp_path), context)
    assert {t.acquisition_index for t in back.tilts if t.is_excluded} == {5, 18}
    for tilt, was in zip(back.included, series.included, strict=True):
        assert tilt.pose.tilt_deg == pytest.approx(was.pose.tilt_deg, abs=1e-6)
        np.testing.assert_allclose(tilt.pose.shift_xy_angstrom, was.pose.shift_xy_angstrom, atol=1e-5)
        assert (tilt.pose.warp is not None) is with_local
