"""Protocols that become no step: one sentence each, and the chain goes on past them."""

from __future__ import annotations

import pytest

from cryoloom.contract import all_steps
from cryoloom.scipion.stated import NO_RULE, STATED_RULES
from cryoloom.scipion.template import read_scipion_workflow
from cryoloom.scipion.translation import translate_scipion
from makers.scipion_workflow import write

SERIES = (1, "ProtImportTs", {"filesPath": "/data", "samplingRate": 2.0})
RECONSTRUCTION = {"tomoThickness": 300}


def translated(folder, *protocols):
    return translate_scipion(read_scipion_workflow(write(folder, *protocols)))


@pytest.mark.parametrize(
    ("protocol", "feeds"),
    [
        ("ProtInvertTiltAngles", "inTsSet"),
        ("ProtAssignExcludedViews", "inputTargetTiltSeries"),
        ("ProtWarpDeconvTS", "inputTiltSeries"),
        ("XmippProtSplitTiltSeries", "inputSetOfTiltSeries"),
        ("ProtTsFromTomos", "inTsSet"),
    ],
)
def test_what_follows_takes_what_the_protocol_took(tmp_path, protocol, feeds):
    made = translated(
        tmp_path,
        SERIES,
        (2, protocol, {feeds: "1.outputTiltSeries", "anything": 5}),
        (3, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "2.tiltSeries", **RECONSTRUCTION}),
    )
    assert [step.step for step in made.steps] == ["import_tilt_series", "reconstruct"]
    assert made.steps[1].feeds == {"input": "import_tilt_series"}
    assert made.steps[1].parameters["thickness_angstrom"] == pytest.approx(600.0)
    assert "2" not in made.steps_of
    (stated,) = made.left
    assert stated.protocol == f"2 {protocol}"
    assert stated.why == (f"{STATED_RULES[protocol].stated}; what follows takes its {feeds} ({feeds} from 1)")


def test_a_size_that_is_not_known_makes_no_length_of_pixels(tmp_path):
    made = translated(
        tmp_path,
        SERIES,
        (2, "CistemProtTsResample", {"inputSetOfTiltSeries": "1.outputTiltSeries", "newXsize": 512}),
        (3, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "2.resampled", **RECONSTRUCTION}),
    )
    assert "thickness_angstrom" not in made.steps[1].parameters
    assert [one.parameter for one in made.left] == ["", "tomoThickness"]


def test_the_first_input_that_is_there_is_taken(tmp_path):
    made = translated(
        tmp_path,
        SERIES,
        (2, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "1.outputTiltSeries", **RECONSTRUCTION}),
        (3, "XmippProtPeakHighContrast", {"inputSetOfTomograms": "2.Tomograms"}),
        (
            4,
            "XmippProtDeepDetectMisalignment",
            {"inputSetOfCoordinates": "3.c", "inputSetOfTomograms": "2.T"},
        ),
        (5, "DynamoBoxing", {"inputTomograms": "4.alignedTomograms", "boxSize": 20}),
    )
    assert made.steps[-1].feeds == {"input": "reconstruct"}
    assert [one.protocol.split()[0] for one in made.left] == ["3", "4"]


def test_every_sentence_names_steps_that_exist():
    steps = set(all_steps())
    for name, why in {**NO_RULE, **{n: rule.stated for n, rule in STATED_RULES.items()}}.items():
        assert 3 <= len(why.split()) <= 40, name
        named = {word.strip(".,:;()`") for word in why.split() if "_" in word}
        parameters = {field for step in all_steps().values() for field in step.params.model_fields}
        assert named <= steps | parameters, name
