"""Rules of picks and surfaces: templates, networks, segmentations and imported coordinates."""

from __future__ import annotations

import pytest

from cryoloom.scipion.picks import PICK_RULES
from cryoloom.scipion.rule import NotTranslatedError
from cryoloom.scipion.workflow_import import import_scipion
from makers.scipion_rules import converted
from makers.scipion_workflow import write

SERIES = (1, "ProtImportTs", {"filesPath": "/data", "samplingRate": 2.5})
TOMOGRAMS = (
    SERIES,
    (2, "CistemProtTsCtffind", {"inputTiltSeries": "1.outputTiltSeries"}),
    (3, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "1.outputTiltSeries"}),
)


def imported(folder, *protocols):
    return import_scipion(write(folder, *TOMOGRAMS, *protocols))


def test_files_of_coordinates_are_named_after_the_tomograms():
    def file_of(**values):
        return converted(PICK_RULES, "ProtImportCoordinates3D", "filesPath", "/picks/", **values)

    assert file_of() == "/picks/"
    assert file_of(filesPattern="*.tbl") == "/picks/{tomogram}.tbl"
    assert file_of(filesPattern="all.star") == "/picks/all.star"


def test_a_thickness_of_one_voxel_says_nothing():
    assert converted(PICK_RULES, "ProtTomoSegmenTV", "mbThkPix", 4, 10.0) == 40.0
    with pytest.raises(NotTranslatedError, match="a membrane of one voxel"):
        converted(PICK_RULES, "ProtTomoSegmenTV", "mbThkPix", 1, 10.0)


@pytest.mark.parametrize(
    ("search", "extraction", "expected"),
    [
        (
            ("ProtGapStopTemplateMatching", {"inTomos": "3.Tomograms", "inCtfSet": "2.CTFs"}),
            ("ProtGapStopExtractCoords", {"inScoreTomos": "4.score", "partDiameter": 40.0,
                                          "numberOfCoords": 9}),
            {"diameter_angstrom": 100.0, "max_particles": 9},
        ),
        (
            ("ProtPytomTemplateMatching", {"inTomos": "3.Tomograms", "angular_search": 12.0,
                                           "z_axis_rotational_symmetry": 6}),
            # The protocol as a whole is its input: a link without an output.
            ("ProtPytomExtractCoordinates", {"inTmProtocol": "4", "particle_diameter": 250.0,
                                             "number_of_particles": 300}),
            {"angular_step_deg": 12.0, "symmetry": "C6", "diameter_angstrom": 250.0, "max_particles": 300},
        ),
    ],
)  # fmt: skip
def test_a_search_and_its_extraction_are_one_step(tmp_path, search, extraction, expected):
    found = imported(tmp_path, (4, *search), (5, *extraction))
    node = found.workflow.node("pick_by_template")
    assert dict(node.parameters) == expected
    assert node.input == "reconstruct"


def test_warp_searches_in_tomograms_of_its_own(tmp_path):
    found = imported(
        tmp_path,
        (4, "ProtWarpTSTemplateMatch", {"inputSet": "1.outputTiltSeries", "inputSetOfCtfTomoSeries": "2.CTFs",
                                        "template_diameter": 300, "symmetry": "o", "npeaks": 500}),
    )  # fmt: skip
    pick = found.workflow.node("pick_by_template")
    assert dict(pick.parameters) == {"diameter_angstrom": 300, "symmetry": "O", "max_particles": 500}
    own = found.workflow.node(pick.input)
    assert (own.step, own.name) == ("reconstruct", "reconstruct_4")
    assert own.input == "assign_ctf"


@pytest.mark.parametrize(
    ("target", "step"), [(0, "trace_filaments"), (1, "segment_membranes"), (2, "trace_filaments")]
)
def test_tardis_finds_membranes_or_filaments(tmp_path, target, step):
    values = {"segmentationTarget": target, "filamentThk": 250, "lenFilter": 1000}
    found = imported(tmp_path, (4, "ProtTardisSeg", {"inputSetOfTomograms": "3.Tomograms", **values}))
    expected = {"diameter_angstrom": 250, "min_length_angstrom": 1000} if target != 1 else {}
    assert dict(found.workflow.node(step).parameters) == expected
    assert found.left == ()


def test_networks_pick_outside_and_the_chain_goes_on(tmp_path):
    found = imported(
        tmp_path,
        (4, "DeepFinderSegment", {"inputTomograms": "3.Tomograms"}),
        (5, "DeepFinderCluster", {"inputSegmentations": "4.segmentations", "cradius": 5}),
        (6, "ProtTomoTwinClusterCreateUmaps", {"inputTomos": "3.Tomograms"}),
        (7, "ProtTomoTwinClusterPicking", {"inputUmaps": "6", "boxSize": 37}),
        (8, "ProtTomoConsensusPicking", {"inputCoordinates": ["5.coordinates", "7.coordinates"]}),
        (9, "DynamoExtraction", {"inputCoords": "8.coordinates"}),
    )
    picks = [node for node in found.workflow.steps if node.step == "import_coordinates"]
    assert [node.input for node in picks] == ["reconstruct", "reconstruct"]
    assert found.workflow.node("extract_particles").input == picks[0].name
    assert [one.protocol.split()[0] for one in found.left if not one.parameter] == ["4", "6", "8"]


def test_isonet_and_cryocare_are_denoising(tmp_path):
    found = imported(
        tmp_path,
        (4, "ProtIsonet2PrepareData", {"inTomos": "3.Tomograms"}),
        (5, "ProtIsonet2Refine", {"prepDataProt": "4", "epochs": 50}),
        (6, "ProtCryoCARETraining", {"tomos": "3.Tomograms", "patch_shape": 72, "num_slices": 600,
                                     "epochs": 40, "unet_n_depth": 3}),
        (7, "ProtCryoCAREPrediction", {"tomos": "3.Tomograms", "model": "6.model"}),
    )  # fmt: skip
    isonet = found.workflow.node("denoise_5")
    assert (isonet.input, dict(isonet.parameters)) == (
        "reconstruct",
        {"method": "missing_wedge", "epochs": 50},
    )


def test_segmented_membranes_are_fitted_and_sampled(tmp_path):
    found = imported(
        tmp_path,
        (5, "ProtTomoSegmenTV", {"inTomos": "3.Tomograms", "mbThkPix": 1}),
        (6, "ProtAnnotateMembranes", {"inputTomoMasks": "5.tomoMasks"}),
        (7, "ProtMeshFromSegmentation", {"inputMasks": "6.tomoMasks", "density": 5.0}),
        (8, "DynamoModelWorkflow", {"inputMeshes": "7.meshes", "boxSize": 0}),
    )
    assert found.workflow.node("segment_membranes").input == "reconstruct"
    assert found.workflow.node("pick_on_surfaces").input == "segment_membranes"
    # Tomograms with masks of another program: nothing in the file gives points on their membranes.
    masks = imported(
        tmp_path,
        (5, "ProtImportTomomasks", {"inputTomos": "3.Tomograms"}),
        (6, "ProtMeshFromSegmentation", {"inputMasks": "5.tomomasks"}),
        (7, "DynamoModelWorkflow", {"inputMeshes": "6.meshes"}),
    )
    assert "pick_on_surfaces needs a Particles, and reconstruct gives a Tomogram" in masks.left[-1].why
