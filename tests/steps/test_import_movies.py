"""Import: a folder of movies and mdocs becomes tilt series, and every kind of bad input its own sentence."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import TiltSeries
from cryoloom.steps.import_movies import ImportMoviesParams, import_movies

START = datetime(2024, 3, 21, 9, 58, 30)
TILTS = (0.0, 3.0, -3.0, -6.0, 6.0)  # in order of acquisition


def write_movie(path, shape=(32, 24), n_frames=2):
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".mrc":
        write_mrc(path, np.ones((n_frames, *shape), np.float32), 1.35)
    else:
        tifffile.imwrite(path, np.ones((n_frames, *shape), np.uint8), photometric="minisblack")


def section(i, tilt, movie, **keys):
    usual = {
        "TiltAngle": f"{tilt:.3f}",
        "ExposureDose": "2.5",
        "PixelSpacing": "2.7",
        "TargetDefocus": "-4",
        "SubFramePath": rf"X:\session\frames\{movie}",
        "DateTime": (START + timedelta(minutes=i)).strftime("%d-%b-%y  %H:%M:%S"),
    }
    return [f"{key} = {value}" for key, value in (usual | keys).items() if value is not None]


def write_session(folder, name="TS_01", tilts=TILTS, suffix=".tif", mdoc_keys=None, **movie):
    folder.mkdir(exist_ok=True)
    lines = ["PixelSpacing = 2.7", "Voltage = 200", "ImageSize = 24 32", ""]
    lines += [
        "[T = SerialEM: a microscope]",
        "[T =     Tilt axis angle = 85.3, binning = 1  spot = 8  camera = 1]",
        "",
    ]
    for z, i in enumerate(np.argsort(tilts, kind="stable")):
        file_name = f"{name}_{i:03d}_{tilts[i]:.1f}{suffix}"
        write_movie(folder / "frames" / file_name, **movie)
        keys = (mdoc_keys or {}).get(int(i), {})
        lines += [f"[ZValue = {z}]", *section(int(i), tilts[i], file_name, **keys), ""]
    (folder / f"{name}.mrc.mdoc").write_text("\n".join(lines))
    return folder


def imported(context, folder, **params):
    return list(import_movies(ImportMoviesParams(directory=folder, **params), context))


def only(context, folder, **params):
    (made,) = imported(context, folder, **params)
    return made


def test_a_serialem_session(tmp_path, context):
    series = only(context, write_session(tmp_path / "raw"))
    assert isinstance(series, TiltSeries)
    assert (series.name, series.pixel_size_angstrom, series.microscope.voltage_kv) == ("TS_01", 2.7, 200)
    assert [tilt.nominal_tilt_deg for tilt in series.tilts] == [-6, -3, 0, 3, 6]
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 2, 0, 1, 4]
    assert_allclose([tilt.dose_start_per_angstrom2 for tilt in series.tilts], [7.5, 5, 0, 2.5, 10])
    assert_allclose([tilt.dose_per_angstrom2 for tilt in series.tilts], 2.5)
    assert series.tilts[0].movie.path.name == "TS_01_003_-6.0.tif"
    assert series.tilts[0].nominal_defocus_angstrom == 40000
    assert series.tilts[2].acquired_at == START
    assert (series.tilt_axis_deg.told, series.tilt_axis_deg.applied) == (85.3, 85.3)
    assert series.gain is None
    assert series.handedness.applied is None
    assert context.records["import"]["ordered_by"] == "DateTime"


def test_the_users_word_counts_and_both_are_kept(tmp_path, context):
    write_mrc(tmp_path / "gain.mrc", np.ones((32, 24), np.float32), 1.0)
    series = only(
        context,
        write_session(tmp_path / "raw"),
        pixel_size_angstrom=1.3,
        voltage_kv=300,
        dose_per_tilt_per_angstrom2=3.0,
        initial_dose_per_angstrom2=1.0,
        tilt_axis_deg=84.0,
        tilt_offset_deg=10.0,
        handedness=-1,
        gain=tmp_path / "gain.mrc",
        gain_quarter_turns=2,
    )
    assert (series.pixel_size_angstrom, series.microscope.voltage_kv) == (1.3, 300)
    assert (series.tilt_axis_deg.told, series.tilt_axis_deg.applied) == (85.3, 84.0)
    assert (series.tilt_offset_deg.applied, series.handedness.applied) == (10.0, -1)
    assert [tilt.dose_end_per_angstrom2 for tilt in series.tilts] == [13, 10, 4, 7, 16]
    assert (series.gain.quarter_turns, series.gain.flip, series.gain.orientation_by) == (2, "none", "user")
    record = context.records["import"]
    assert record["told_pixel_size_angstrom"] == 2.7
    assert record["told_dose_per_angstrom2"] == [2.5] * 5
    assert record["told_voltage_kv"] == 200


def test_the_stack_of_the_mdoc_was_binned(tmp_path, context):
    """EMPIAR-10164: a stack of 924 x 958 at 5.4 A, movies of 3710 x 3838, which are 1.35 A."""
    folder = write_session(tmp_path / "raw", shape=(131, 99))
    assert only(context, folder).pixel_size_angstrom == pytest.approx(2.7 / 4)


def test_prior_dose_is_believed(tmp_path, context):
    """A view or a search image may have cost dose that sums do not know."""
    keys = {i: {"PriorRecordDose": str(4.0 * i)} for i in range(5)}
    series = only(context, write_session(tmp_path / "raw", mdoc_keys=keys))
    assert [tilt.dose_start_per_angstrom2 for tilt in series.tilts] == [12, 8, 0, 4, 16]
    for folder, wrong in (("zero", "0"), ("less", "0.1")):
        keys = {i: {"PriorRecordDose": wrong} for i in range(5)}
        series = only(context, write_session(tmp_path / folder, mdoc_keys=keys))
        assert [tilt.dose_start_per_angstrom2 for tilt in series.tilts] == [7.5, 5, 0, 2.5, 10]


def test_one_mdoc_per_movie(tmp_path, context):
    for name in ("TS_01", "TS_02"):
        for i, tilt in enumerate(TILTS):
            movie = f"{name}_{i:03d}_{tilt:.1f}_Mar21_09.58.3{i}.tif"
            write_movie(tmp_path / movie)
            lines = ["T = SerialEM: a microscope", "Voltage = 300", "", "[FrameSet = 0]"]
            lines += section(i, tilt, movie, RotationAngle="175.3")
            (tmp_path / f"{movie}.mdoc").write_text("\r\n".join(lines))
    first, second = imported(context, tmp_path)
    assert (first.name, second.name) == ("TS_01", "TS_02")
    assert [tilt.acquisition_index for tilt in first.tilts] == [3, 2, 0, 1, 4]
    assert first.tilt_axis_deg.applied == pytest.approx(85.3)


def test_mdocs_per_movie_beside_that_of_the_series(tmp_path, context):
    folder = write_session(tmp_path / "raw")
    for i, tilt in enumerate(TILTS):
        movie = f"TS_01_{i:03d}_{tilt:.1f}.tif"
        (folder / f"{movie}.mdoc").write_text("\n".join(["[FrameSet = 0]", *section(i, tilt, movie)]))
    assert only(context, folder).name == "TS_01"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("TS_01_{i:03d}_{tilt:.1f}.tif", "{TS}_{TO}_{TA}.tif"),
        ("TS_01_{i:03d}_{tilt:.1f}.mrc", "{TS}-{TO}-{TA}.mrc"),  # the tutorial's pattern for these files
        ("TS_01.{i:03d}{tilt:+.1f}.tif", "{TS}.{TO}{TA}.tif"),
        ("TS_01_{i:03d}_{tilt:.1f}_Mar21_09.58.30_EER.tif", "{TS}_{TO}_{TA}_*_EER.tif"),
        ("TS_01/TS_01_{i:03d}[{tilt:.1f}].tif", "{TS}/{TS}_{TO}[{TA}].tif"),
    ],
)
def test_patterns_of_file_names(tmp_path, context, name, pattern):
    for i, tilt in enumerate(TILTS):
        write_movie(tmp_path / name.format(i=i, tilt=tilt))
    series = only(context, tmp_path, pattern=pattern, pixel_size_angstrom=1.35, dose_per_tilt_per_angstrom2=3)
    assert series.name == "TS_01"
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 2, 0, 1, 4]
    assert [tilt.nominal_tilt_deg for tilt in series.tilts] == [-6, -3, 0, 3, 6]
    assert any("no tilt axis" in warning for warning in context.warnings)


def test_a_number_that_no_movie_has_was_exposed_all_the_same(tmp_path, context):
    for i, tilt in enumerate(TILTS):
        if i != 2:
            write_movie(tmp_path / f"TS_01_{i + 1:03d}_{tilt:.1f}.tif")
    given = {"pattern": "{TS}_{TO}_{TA}.tif", "pixel_size_angstrom": 1.35, "dose_per_tilt_per_angstrom2": 3}
    series = only(context, tmp_path, **given)
    doses = {tilt.acquisition_index: tilt.dose_start_per_angstrom2 for tilt in series.tilts}
    assert doses == {0: 0.0, 1: 3.0, 3: 9.0, 4: 12.0}
    assert any("no movie has the number 3;" in warning for warning in context.warnings)


def test_pattern_problems(tmp_path, context):
    write_movie(tmp_path / "a.tif")
    with pytest.raises(UserInputError, match=r"lacks \{TO\}"):
        imported(context, tmp_path, pattern="{TS}_{TA}.tif")
    with pytest.raises(UserInputError, match=r"no file in .* fits .* the first file there is a\.tif"):
        imported(context, tmp_path, pattern="{TS}_{TO}_{TA}.tif")


def test_tomo5_files_of_real_data(data, tmp_path, context):
    """Only the three exposures the file holds; movies as EER would need events, so TIFFs stand in."""
    source = (data / "mdoc" / "tomo5_Position_10.mdoc").read_text()
    (tmp_path / "Position_10.mdoc").write_text(source.replace(".eer", ".tif"))
    (tmp_path / "Position_10_override.mdoc").write_text(source.replace(".eer", ".tif"))
    for line in source.splitlines():
        if line.startswith("SubFramePath"):
            write_movie(tmp_path / line.rsplit("\\", 1)[-1].replace(".eer", ".tif"), (64, 64))
    with pytest.raises(UserInputError, match="is called 'TS_01'"):
        imported(context, tmp_path, series="TS_01")
    series = only(context, tmp_path, series="TS_*, Position_1?", pixel_size_angstrom=1.98)
    assert [tilt.nominal_tilt_deg for tilt in series.tilts] == [-23.01, -20.01, -17.01]
    assert [tilt.dose_start_per_angstrom2 for tilt in series.tilts] == [13.58, 0, 4.52]
    assert series.tilt_axis_deg.applied == 81.35
    assert any("a tilt axis of 81.35 deg is used and checked" in warning for warning in context.warnings)
    assert any("repeats another mdoc" in warning for warning in context.warnings)


def test_a_bad_series_holds_nobody_up(tmp_path, context):
    folder = write_session(tmp_path / "raw")
    write_session(folder, "TS_02")
    (folder / "frames" / "TS_01_003_-6.0.tif").unlink()
    bad, good = imported(context, folder)
    assert isinstance(bad, DataUnfitError)
    assert bad.facts["series"] == "TS_01"
    assert "the movie TS_01_003_-6.0.tif is missing" in bad.message
    assert good.name == "TS_02"


def spoilt(tmp_path, context, **params):
    made = only(context, tmp_path, **params)
    assert isinstance(made, DataUnfitError)
    assert made.facts["series"] == "TS_01"
    return str(made)


def test_a_truncated_movie(tmp_path, context):
    path = write_session(tmp_path / "raw") / "frames" / "TS_01_002_-3.0.tif"
    path.write_bytes(path.read_bytes()[:-300])
    assert "TS_01_002_-3.0.tif is truncated" in spoilt(tmp_path / "raw", context)


def test_a_movie_of_another_shape_is_left_out(tmp_path, context):
    folder = write_session(tmp_path / "raw")
    write_movie(folder / "frames" / "TS_01_002_-3.0.tif", (24, 32))
    series = only(context, folder)
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 0, 1, 4]
    says = "the tilt at -3.0 deg is left out: TS_01_002_-3.0.tif has another shape"
    assert any(says in warning for warning in context.warnings)
    write_movie(folder / "frames" / "TS_01_003_-6.0.tif", (24, 32))
    assert "has another shape than most movies" in spoilt(folder, context)


def test_zero_dose(tmp_path, context):
    folder = write_session(tmp_path / "raw", mdoc_keys={2: {"ExposureDose": "0"}})
    made = only(context, folder)
    assert len({round(tilt.dose_per_angstrom2, 6) for tilt in made.tilts}) == 1
    assert any("a dose of 0 e/A^2 is given for TS_01_002_-3.0.tif" in warning for warning in context.warnings)
    everywhere = write_session(tmp_path / "none", mdoc_keys={i: {"ExposureDose": "0"} for i in range(5)})
    assert "no dose is given for the tilt at 0.0 deg; give dose_per_tilt" in spoilt(everywhere, context)
    assert only(context, everywhere, dose_per_tilt_per_angstrom2=2).name == "TS_01"


def test_a_single_exposure(tmp_path, context):
    folder = write_session(tmp_path / "raw", tilts=(0.0,))
    assert "too few tilts" in spoilt(folder, context)


def test_a_movie_given_twice(tmp_path, context):
    keys = {4: {"SubFramePath": "D:\\TS_01_000_0.0.tif"}}
    folder = write_session(tmp_path / "raw", mdoc_keys=keys)
    assert "TS_01_000_0.0.tif is named for 2 tilts" in spoilt(folder, context)


def test_no_movie_given(tmp_path, context):
    folder = write_session(tmp_path / "raw", mdoc_keys={1: {"SubFramePath": None}})
    assert "the metadata name no movie for the tilt at 3.0 deg" in spoilt(folder, context)


def test_no_angle_given(tmp_path, context):
    folder = write_session(tmp_path / "raw", mdoc_keys={1: {"TiltAngle": None}})
    series = only(context, folder)
    assert [tilt.nominal_tilt_deg for tilt in series.tilts] == [-6, -3, 0, 3, 6]
    assert any("no TiltAngle is given for TS_01_001_3.0.tif" in warning for warning in context.warnings)
    keys = {1: {"TiltAngle": None, "SubFramePath": "X:\\a.tif"}}
    assert "gives no TiltAngle" in spoilt(write_session(tmp_path / "b", mdoc_keys=keys), context)


def test_no_pixel_size_given(tmp_path, context):
    folder = write_session(tmp_path / "raw", shape=(48, 36))
    assert "not a whole binning" in spoilt(folder, context)


def test_an_angle_exposed_twice_is_kept_and_reported(tmp_path, context):
    series = only(context, write_session(tmp_path / "raw", tilts=(0.0, 3.0, -3.0, 3.0)))
    assert [tilt.acquisition_index for tilt in series.tilts] == [2, 0, 1, 3]
    assert any("3.0 deg was acquired more than once" in warning for warning in context.warnings)


def test_no_times_given(tmp_path, context):
    keys = {i: {"DateTime": None} for i in range(5)}
    series = only(context, write_session(tmp_path / "raw", mdoc_keys=keys))
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 2, 0, 1, 4]  # numbers in names
    assert context.records["import"]["ordered_by"] == "numbers in names"


def test_maps_are_left_out(data, tmp_path, context):
    folder = write_session(tmp_path / "raw")
    (folder / "LMM.mrc.mdoc").write_text((data / "mdoc" / "montage_section.mdoc").read_text())
    assert only(context, folder).name == "TS_01"
    assert any("LMM.mrc.mdoc names no movies" in warning for warning in context.warnings)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"directory": "none"}, "there is no folder"),
        ({"gain": "none.mrc"}, "the gain reference none.mrc does not exist"),
        ({"defects": "none.txt"}, "the defects file none.txt does not exist"),
        ({"mdoc": "*.none"}, r"there is no \*\.none"),
        ({"series": "TS_7?"}, "is called 'TS_7"),
    ],
)
def test_wrong_requests(tmp_path, context, params, says):
    folder = write_session(tmp_path / "raw")
    with pytest.raises(UserInputError, match=says):
        list(import_movies(ImportMoviesParams(**({"directory": folder} | params)), context))


def test_two_movies_of_one_name(tmp_path, context):
    """The folder that the mdoc recorded counts; if neither has its name, the user is asked."""
    folder = write_session(tmp_path / "raw")
    write_movie(folder / "again" / "TS_01_000_0.0.tif")
    assert {tilt.movie.path.parent.name for tilt in only(context, folder).tilts} == {"frames"}
    (folder / "frames").rename(folder / "copied")
    assert "there are two movies TS_01_000_0.0.tif" in spoilt(folder, context)
    assert only(context, folder, frames_directory=folder / "copied").name == "TS_01"


def test_a_movie_converted_since(tmp_path, context):
    """SubFramePath names an MRC file; what is there is its compressed TIFF."""
    keys = {i: {"SubFramePath": f"X:\\TS_01_{i:03d}_{tilt:.1f}.MRC"} for i, tilt in enumerate(TILTS)}
    assert only(context, write_session(tmp_path / "raw", mdoc_keys=keys)).tilts[0].movie.path.suffix == ".tif"


def test_a_missing_movie_may_be_left_out(tmp_path, context):
    folder = write_session(tmp_path / "raw")
    (folder / "frames" / "TS_01_001_3.0.tif").unlink()
    (made,) = imported(context, folder)
    assert isinstance(made, DataUnfitError)
    series = only(context, folder, leave_out_missing=True)
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 2, 0, 4]
    # The specimen had the dose of the exposure whose movie is lost.
    assert_allclose([tilt.dose_start_per_angstrom2 for tilt in series.tilts], [7.5, 5, 0, 10])
    assert any("tilt at 3.0 deg is left out: the movie TS_01_001_3.0.tif" in w for w in context.warnings)
    for path in (folder / "frames").iterdir():
        path.unlink()
    (made,) = imported(context, folder, leave_out_missing=True)
    assert "too few tilts" in made.message
    assert made.facts["got_tilts"] == 0
