"""Streaming templates: single movies, their sums, series put together by mdocs, and filters of tilts."""

from __future__ import annotations

import pytest

from cryoloom.engine.graph.workflow import load_workflow
from cryoloom.scipion.rule import Surroundings
from cryoloom.scipion.streaming import STREAMING_RULES
from cryoloom.scipion.workflow_import import import_scipion
from makers.scipion_workflow import write

MOVIES = {
    "filesPath": "%(SCIPION_TESTS)s/session/",
    "filesPattern": "*.eer",
    "voltage": 300.0,
    "samplingRateMode": 0,
    "samplingRate": 0.7,
    "scannedPixelSize": 7.0,
    "dosePerFrame": 3.0,
    "dataStreaming": True,
    "timeout": "12h",
    "gainFile": "%(SCIPION_TESTS)s/session/ref.gain",
}
SUMS = {
    "inputMovies": "1.outputMovies",
    "binFactor": 2.0,
    "patchX": 0,
    "patchY": 0,
    "doApplyDoseFilter": False,
}
SERIES = {
    "inputMicrographs": "2.micrographs",
    "filesPath": "%(SCIPION_TESTS)s/session/",
    "mdocPattern": "*.mdoc",
    "isTomo5": True,
    "minNumTilts": 5,
    "percentTiltsRequired": 50,
    "manualTiltAxisAngle": 84.5,
    "time4NextTilt": "3m",
}
LIMITS = {
    "maxShiftX": 1.0,
    "maxShiftY": 1.0,
    "minTilt": -60.0,
    "maxTilt": 66.0,
    "minDose": 0.0,
    "maxDose": 120.0,
    "qualityFilterFactor": 2,
    "darkSensitivity": 2.5,
    "minViews": 9,
    "doReStack": True,
}


def chain(folder, *, before=None, after=None, further=()):
    """A streaming workflow with a filter before the alignment and one after it."""
    return write(
        folder,
        # Scipion lists protocols in the order of their creation.
        (9, "ProtExclViewFilter", {"inTsSet": "6.TiltSeries", **LIMITS, "maxShiftX": 0.1, "maxShiftY": 0.1,
                                   "qualityFilterFactor": 0, **(after or {})}),
        (5, "ProtImodXraysEraser", {"inputSetOfTiltSeries": "4.tiltSeries"}),
        (4, "ProtExclViewFilter", {"inTsSet": "3.tiltSeries", **LIMITS, **(before or {})}),
        (6, "ProtAreTomoAlignRecon", {"inputSetOfTiltSeries": "5.TiltSeries", "makeTomo": False,
                                      "doEstimateCtf": True, "doDW": False}),
        (10, "ProtImodCtfCorrection", {"inputSetOfTiltSeries": "9.tiltSeries",
                                       "inputSetOfCtfTomoSeries": "6.CTFTomoSeries"}),
        (11, "ProtTomo3dReconstrucTomo", {"inputSetOfTiltSeries": "10.TiltSeries", "method": 1,
                                          "nIterations": 20, "height": 300}),
        (3, "ProtComposeTS", SERIES),
        (2, "ProtMotionCorrNewStreaming", SUMS),
        (1, "ProtImportMovies", MOVIES),
        *further,
    )  # fmt: skip


def test_a_streaming_template_is_one_chain_from_the_movies_to_the_tomogram(tmp_path):
    imported = import_scipion(chain(tmp_path))
    workflow = imported.workflow
    by_name = {node.name: node for node in workflow.steps}
    line, at = [], "reconstruct"
    while at is not None:
        line.insert(0, by_name[at].step)
        at = by_name[at].input
    assert line == [
        "import_movies", "prepare_gain", "align_frames", "select_tilts", "select_items", "erase_xrays",
        "select_tilts", "estimate_ctf", "align_series", "select_tilts", "select_items", "correct_ctf",
        "reconstruct",
    ]  # fmt: skip
    # The folder of the movies is that of the mdocs, and is found with them wherever they are.
    assert dict(by_name["import_movies"].parameters) == {
        "directory": "%(SCIPION_TESTS)s/session/",
        "mdoc": "*.mdoc",
        "voltage_kv": 300.0,
        "pixel_size_angstrom": 0.7,
        "gain": "%(SCIPION_TESTS)s/session/ref.gain",
        "min_tilts": 5,
        "leave_out_missing": True,
        "tilt_axis_deg": 84.5,
    }
    assert dict(by_name["align_frames"].parameters) == {"binning": 2.0}
    # 300 pixels of 0.7 A x 2.
    assert by_name["reconstruct"].parameters["thickness_angstrom"] == pytest.approx(420.0)
    assert by_name["reconstruct"].parameters["iterations"] == 20
    assert not [one for one in imported.left if not one.parameter]
    assert {one.parameter for one in imported.left} == {"dosePerFrame"}
    (tmp_path / "w.yaml").write_text(imported.to_yaml())
    assert load_workflow(tmp_path / "w.yaml") == workflow


def test_a_filter_of_tilts_judges_shifts_only_after_an_alignment(tmp_path):
    workflow = import_scipion(chain(tmp_path, before={"maxShiftX": 0.2, "maxShiftY": 0.2})).workflow
    limits = {"min_tilt_deg": -60.0, "max_tilt_deg": 66.0, "max_dose_per_angstrom2": 120.0}
    judged = {"find_dark": True, "find_covered": True, "find_blurred": True, "find_shifted": False}
    assert dict(workflow.node("select_tilts_4").parameters) == {**limits, **judged}
    assert dict(workflow.node("select_tilts_9").parameters) == {
        **limits,
        **dict.fromkeys(["find_dark", "find_covered", "find_blurred"], False),
        "find_shifted": True,
        "shift_fraction": 0.1,
    }
    assert dict(workflow.node("select_items_9").parameters) == {"where": "n_included >= 9"}


def test_what_a_filter_cannot_take_over_is_listed(tmp_path):
    odd = {
        "maxShiftX": 0.1,
        "maxShiftY": 0.3,
        "minDose": 5.0,
        "qualityFilterFactor": 4,
        "minTilt": -90.0,
        "minViews": 1,
    }
    imported = import_scipion(chain(tmp_path, after=odd))
    listed = {one.parameter for one in imported.left if "ProtExclViewFilter" in one.protocol}
    # The limits of images count with the custom preset only: those of the first filter do not.
    assert listed == {"maxShiftY", "minDose", "qualityFilterFactor", "darkSensitivity"}
    after = imported.workflow.node("select_tilts_9").parameters
    assert after["shift_fraction"] == 0.1
    assert "min_tilt_deg" not in after
    assert "select_items_9" not in [node.name for node in imported.workflow.steps]
    nothing = import_scipion(chain(tmp_path, after={"maxShiftX": 0.0}))
    assert any("excludes every tilt" in one.why for one in nothing.left)
    assert nothing.workflow.node("select_tilts_9").parameters["find_shifted"] is False


def test_a_filter_without_values_has_those_of_scipion(tmp_path):
    path = write(
        tmp_path,
        (1, "ProtImportTs", {"filesPath": "/data"}),
        (2, "ProtExclViewFilter", {"inTsSet": "1.outputTiltSeries"}),
    )
    workflow = import_scipion(path).workflow
    found = workflow.node("select_tilts").parameters
    assert (found["min_tilt_deg"], found["max_tilt_deg"], found["max_dose_per_angstrom2"]) == (-30, 30, 70)
    assert workflow.node("select_items").parameters["where"] == "n_included >= 30"


def test_the_pixel_of_scanned_movies_is_to_be_set(tmp_path):
    path = write(tmp_path, (1, "ProtImportMovies", {**MOVIES, "samplingRateMode": 1}))
    imported = import_scipion(path)
    assert "pixel_size_angstrom" not in imported.workflow.node("import_movies").parameters
    assert {one.parameter for one in imported.left} == {"dosePerFrame", "scannedPixelSize"}


@pytest.mark.parametrize(
    ("protocol", "values", "expected"),
    [
        ("ProtMotionCorrTasks", {"binFactor": 2}, {"binning": 2}),
        (
            "ProtWarpMotionCorr",
            {"range_min": 500, "range_max": 10},
            {"coarsest_angstrom": 500, "finest_angstrom": 10},
        ),
        (
            "CistemProtUnblur",
            {"bfactor": 1500.0, "alignFrame0": 2},
            {"b_factor_angstrom2": 1500.0, "first_frame": 2},
        ),
    ],
)
def test_sums_of_single_movies_by_any_program(tmp_path, protocol, values, expected):
    path = write(
        tmp_path,
        (1, "ProtImportMovies", MOVIES),
        (2, protocol, {"inputMovies": "1.outputMovies", **values}),
        (3, "ProtComposeTS", SERIES),
        (4, "ProtGctf", {"inputMicrographs": "2.micrographs", "minDefocus": 10000.0, "doPhShEst": True}),
    )
    workflow = import_scipion(path).workflow
    assert dict(workflow.node("align_frames").parameters) == expected
    assert workflow.node("import_movies").parameters["min_tilts"] == 5
    assert dict(workflow.node("estimate_ctf").parameters) == {
        "min_defocus_angstrom": 10000.0,
        "phase_plate": True,
    }


def test_every_rule_of_streaming_begins_with_movies_or_takes_what_they_became():
    assert [name for name, rule in STREAMING_RULES.items() if not rule.inputs] == ["ProtImportMovies"]
    judges = STREAMING_RULES["ProtExclViewFilter"].pieces[0].derives["find_dark"]
    assert judges(Surroundings({"qualityFilterFactor": 2}, None)) is True
    assert judges(Surroundings({"qualityFilterFactor": 0}, None)) is False
