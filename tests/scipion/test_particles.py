"""Rules of particles and averages: units, signs, and values that count with another one only."""

from __future__ import annotations

import pytest

from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.rule import NotTranslatedError
from cryoloom.scipion.workflow_import import import_scipion
from makers.scipion_rules import converted
from makers.scipion_workflow import write

POSTPROCESS = next(
    name
    for name, rule in PARTICLE_RULES.items()
    if any("userBFactor" in piece.takes for piece in rule.pieces)
)


@pytest.mark.parametrize(
    ("protocol", "theirs", "value", "expected"),
    [
        ("ProtRelionRefineSubtomograms", "angularSamplingDeg", 2, 7.5),
        ("ProtRelion5ExtractSubtomos", "write2dStacks", True, "stacks"),
        ("EmanProtTomoInitialModelNew", "symmetry", "c6", "C6"),
    ],
)
def test_choices(protocol, theirs, value, expected):
    assert converted(PARTICLE_RULES, protocol, theirs, value, 10.0) == expected


def test_a_b_factor_changes_its_sign_and_counts_if_it_is_requested():
    assert converted(PARTICLE_RULES, POSTPROCESS, "userBFactor", -80.0, useOwnBFactor=True) == 80.0
    with pytest.raises(NotTranslatedError, match="useOwnBFactor does not request it"):
        converted(PARTICLE_RULES, POSTPROCESS, "userBFactor", -80.0, useOwnBFactor=False)


def test_the_detectors_pixel_counts_with_a_modulation_transfer_only():
    size = converted(PARTICLE_RULES, POSTPROCESS, "origDetectorPixSize", 1.35, mtf="k3.star")
    assert size == 1.35
    with pytest.raises(NotTranslatedError, match="no modulation transfer is given"):
        converted(PARTICLE_RULES, POSTPROCESS, "origDetectorPixSize", 1.35, mtf="")


def test_a_negative_prior_is_none():
    assert converted(PARTICLE_RULES, "ProtRelionRefineSubtomograms", "priorWidthTiltAngle", 3.0) == 3.0
    with pytest.raises(NotTranslatedError, match="no prior is requested"):
        converted(PARTICLE_RULES, "ProtRelionRefineSubtomograms", "priorWidthTiltAngle", -1)


TOMOGRAMS = (
    (1, "ProtImportTs", {"filesPath": "/data", "samplingRate": 2.5}),
    (2, "ProtImportTsCTF", {"inputSetOfTiltSeries": "1.outputTiltSeries", "filesPath": "/ctf",
                            "importFrom": 1}),
    (3, "EmanProtTsAlignTomoRec", {"inputTS": "1.outputTiltSeries", "tiltAxisAngle": -3.0, "outsize": 0}),
    (4, "ProtImportCoordinates3D", {"importTomograms": "3.tomograms", "filesPath": "/picks/", "boxSize": 40,
                                    "filesPattern": "*_info.json", "importFrom": 3, "samplingRate": 10.0}),
)  # fmt: skip


def imported(folder, *protocols):
    return import_scipion(write(folder, *TOMOGRAMS, *protocols))


def test_emans_chain_from_images_to_a_refinement(tmp_path):
    found = imported(
        tmp_path,
        (5, "EmanProtTSExtraction", {"inputSubtomos": "4.coordinates", "inputCTF": "2.CTFs", "minDist": 120.0,
                                     "inputTS": "3.tiltSeries", "boxSize": 160, "shrink": 4.0,
                                     "maxTilt": 60}),
        (6, "EmanProtTomoInitialModelNew", {"inputSubtomos": "5.subtomograms", "symmetry": "d2",
                                            "targetRes": 40.0, "nClasses": 2}),
        (7, "EmanProtTomoRefinementNew", {"inputSubtomos": "5.subtomograms", "refVol": "6.average.1",
                                          "startRes": 45.0, "maxResAli": 12.0, "iters": "p3,t2"}),
        (8, "EmanProtMultiRefinementNew", {"inputSubtomos": "7.subtomograms", "nClasses": 3, "maxRes": 18.0,
                                           "doAlignment": False, "symmetry": "c1"}),
    )  # fmt: skip
    nodes = {node.step: node for node in found.workflow.steps}
    assert {
        name: {**({"input": node.input} if node.input else {}), **node.links} for name, node in nodes.items()
    } == {
        "import_tilt_series": {},
        "import_ctf": {"input": "import_tilt_series"},
        "align_series": {"input": "import_tilt_series"},
        "reconstruct": {"input": "align_series"},
        "import_coordinates": {"input": "reconstruct"},
        "assign_ctf": {"input": "align_series", "ctf_from": "import_ctf"},
        "assign_series": {"input": "import_coordinates", "series_from": "assign_ctf"},
        "clean_particles": {"input": "assign_series"},
        "extract_particles": {"input": "clean_particles"},
        "initial_model": {"input": "extract_particles"},
        "refine": {"input": "initial_model.particles"},
        "classify": {"input": "refine.particles"},
    }
    assert {name: dict(node.parameters) for name, node in nodes.items() if name in {
        "import_ctf", "align_series", "import_coordinates", "clean_particles", "extract_particles",
        "initial_model", "refine", "classify",
    }} == {
        "import_ctf": {"folder": "/ctf", "program": "imod"},
        "align_series": {"tilt_axis_deg": -3.0},
        "import_coordinates": {"file": "/picks/{tomogram}_info.json", "box_px": 40, "format": "eman2",
                               "picked_pixel_angstrom": 10.0},
        # EMAN's box is in pixels before its binning, ours in those after it.
        "extract_particles": {"box_px": 40, "binning": 4.0},
        "clean_particles": {"min_distance_angstrom": 120.0, "min_seen_fraction": 0.0},
        "initial_model": {"symmetry": "D2", "resolution_angstrom": 40.0},
        "refine": {"initial_lowpass_angstrom": 45.0, "finest_resolution_angstrom": 12.0},
        "classify": {"n_classes": 3, "resolution_angstrom": 18.0},
    }  # fmt: skip
    assert {(one.protocol.split()[-1], one.parameter) for one in found.left} == {
        ("EmanProtTsAlignTomoRec", "outsize"),
        ("EmanProtTSExtraction", "maxTilt"),
        ("EmanProtTomoInitialModelNew", "nClasses"),
        ("EmanProtTomoRefinementNew", "iters"),
    }


@pytest.mark.parametrize(
    "protocol", ["EmanProtTomoExtraction", "DynamoExtraction", "XmippProtExtractSubtomos"]
)
def test_a_box_in_voxels_of_the_tomogram_is_cut_at_its_binning(tmp_path, protocol):
    feeds = {"EmanProtTomoExtraction": "inputCoordinates", "DynamoExtraction": "inputCoords"}
    made = import_scipion(
        write(
            tmp_path,
            *TOMOGRAMS[:1],
            (2, "ProtAreTomoAlignRecon", {"inputSetOfTiltSeries": "1.outputTiltSeries", "binFactor": 2}),
            (3, "DynamoBinTomograms", {"inputTomos": "2.Tomograms", "binning": 2}),
            (4, "DynamoBoxing", {"inputTomograms": "3.tomograms"}),
            (5, protocol, {feeds.get(protocol, "coords"): "4.meshes", "boxSize": 40}),
        )
    )
    assert dict(made.workflow.node("extract_particles").parameters) == {"box_px": 40, "binning": 4.0}


def test_a_box_in_voxels_of_unknown_size_is_listed(tmp_path):
    found = imported(tmp_path, (5, "EmanProtTomoExtraction", {"inputCoordinates": "4.c", "boxSize": 40}))
    assert not found.workflow.node("extract_particles").parameters
    assert ("boxSize", "it is in voxels of a tomogram whose binning is not known") in {
        (one.parameter, one.why) for one in found.left
    }


def test_relions_refinements_of_tilts_are_those_of_the_series(tmp_path):
    found = imported(
        tmp_path,
        (5, "ProtRelion5ExtractSubtomos", {"inReParticles": "4.c", "inputCtfTs": "2.CTFs", "boxSize": 64}),
        (6, "ProtRelionRefineSubtomograms", {"inReParticles": "5.relionParticles", "symmetry": "C1"}),
        (7, "ProtRelionCtfRefine", {"inReParticles": "6.relionParticles", "recVolume": "6.average",
                                    "defocusRange": 2000, "refineContrast": False}),
        (8, "ProtRelionTomoFrameAlign", {"inReParticles": "7.relionParticles", "recVolume": "6.average",
                                         "alignByShift": True}),
        (9, "ProtTomoExportRe5Coords", {"inputSubTomos": "8.relionParticles"}),
        (10, "ProtRelion5ReconstructParticle", {"inReParticles": "9.coordinates3d"}),
    )  # fmt: skip
    defocus, shifts = (node for node in found.workflow.steps if node.step == "refine_series")
    assert (defocus.input, defocus.links) == ("refine.particles", {"average_from": "refine"})
    assert dict(defocus.parameters) == {
        "stage_angles": False,
        "magnification": False,
        "warp_controls": 0,
        "max_defocus_change_angstrom": 2000,
        "amplitudes": False,
    }
    assert dict(shifts.parameters) == {"stage_angles": False, "magnification": False, "defocus": False}
    assert found.workflow.node("reconstruct_particle").input == shifts.name
    without = imported(tmp_path, (5, "ProtRelionCtfRefine", {"inReParticles": "4.c"}))
    assert any("needs average_from too" in one.why for one in without.left)


def test_averages_are_placed_and_subtracted(tmp_path):
    found = imported(
        tmp_path,
        (5, "DynamoExtraction", {"inputCoords": "4.coordinates"}),
        (6, "DynamoProtAvgSubtomograms", {"inSubtomos": "5.subtomograms"}),
        (7, "XmippProtSubtomoMapBack", {"inputSubtomos": "5.subtomograms", "inputRef": "6.average"}),
        (8, "XmippProtSubtractionSubtomo", {"inputSubtomos": "5.subtomograms", "average": "6.average"}),
        (9, "XmippProtCLTomo", {"inputVolumes": "8.subtomograms", "numberOfReferences": 4}),
    )
    for name in ("map_back", "subtract_signal"):
        assert found.workflow.node(name).links == {"average_from": "reconstruct_particle"}
        assert found.workflow.node(name).input == "extract_particles"
    assert found.workflow.node("classify").parameters == {"n_classes": 4}


def test_m_and_warps_export(tmp_path):
    found = imported(
        tmp_path,
        (5, "ProtWarpExportParticles", {"coordinates": "4.c", "inputSet": "3.tiltSeries", "box": 64,
                                        "inputSetOfCtfTomoSeries": "2.CTFs", "writeStacks": 1}),
        (6, "ProtSusanAverage", {"inputSubstacks": "5.particles", "sym": "c3"}),
        (7, "ProtWarpMHigResolutionRefinement", {"inReParticles": "5.p", "averageSubtomogram": "6.average",
                                                 "refine_imagewarp": "4x4", "ctf_defocus": False}),
    )  # fmt: skip
    workflow = found.workflow
    assert workflow.node("assign_series").links == {"series_from": "assign_ctf"}
    assert dict(workflow.node("extract_particles").parameters) == {"box_px": 64, "output": "volumes"}
    assert dict(workflow.node("reconstruct_particle").parameters) == {"symmetry": "C3"}
    refined = workflow.node("refine_series")
    assert dict(refined.parameters) == {"warp_controls": 4, "defocus": False}
    assert refined.links == {"average_from": "reconstruct_particle"}
