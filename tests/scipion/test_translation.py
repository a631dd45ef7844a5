"""Scipion's files are read; every protocol is translated with its parameters, or named."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.scipion.rules import RULES
from cryoloom.scipion.template import read_scipion_workflow
from cryoloom.scipion.translation import translate_scipion
from makers.scipion_workflow import template, write

__all__ = ["template"]

TEMPLATES = ["STA_HIV", "STA_apoferritin", "nonOrientedPicking_ribosome"]

# What the tutorials name, by the classes of Scipion's plugins.
NAMED_IN_THE_TUTORIALS = """
ProtImportTsMovies ProtImportTs ProtTsMotionCorr ProtTsAverage XmippProtTsFlexAlign ProtWarpTSMotionCorr
CistemProtTsCtffind ProtTsGctf EmanProtEstimateCTF ProtImodAutomaticCtfEstimation ProtImodManualCtfEstimation
ProtSusanEstimateCtf ProtImodDoseFilter ProtImodXraysEraser ProtImodExcludeViews ProtImodTsNormalization
ProtImodXcorrPrealignment ProtImodFiducialModel ProtImodFiducialAlignment ProtImodEtomo ProtImodBRT
ProtAreTomoAlignRecon EmanProtTsAlignTomoRec ProtAssignTransformationMatrixTiltSeries
ProtImodApplyTransformationMatrix ProtImodTomoReconstruction ProtTomo3dReconstrucTomo ProtNovaCtf
ProtNovaCtfTomoDefocus ProtNovaCtfTomoReconstruction ProtRelion5TomoReconstruct ProtImodCtfCorrection
ProtCryoCAREPrepareTrainingData ProtCryoCARETraining ProtCryoCAREPrediction DynamoBoxing DynamoModelWorkflow
ProtImportCoordinates3DFromScipion ProtImportCoordinates3D ProtRelion5ExtractSubtomos
ProtRelionDeNovoInitialModel ProtRelionRefineSubtomograms ProtRelion5ReconstructParticle
""".split()


def translated(folder, *protocols):
    return translate_scipion(read_scipion_workflow(write(folder, *protocols)))


def movies(**values):
    return (1, "ProtImportTsMovies", {"filesPath": "/data", "filesPattern": "*.mdoc", **values})


def parameters(translation, step):
    return next(made.parameters for made in translation.steps if made.step == step)


def test_every_protocol_of_the_tutorials_has_a_rule():
    assert [name for name in NAMED_IN_THE_TUTORIALS if name not in RULES] == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_protocol_of_a_template_is_translated_or_named(template, name):
    workflow = read_scipion_workflow(template(name))
    translation = translate_scipion(workflow)
    named = {one.protocol for one in translation.left if not one.parameter}
    for protocol in workflow.protocols:
        assert (protocol.id in translation.steps_of) != (protocol.title in named), protocol.title
    assert all(one.why for one in translation.left)


def test_every_template_that_is_there_is_known(data):
    """Issue 13: of the tomography protocols at least 95 % translate or have a stated counterpart."""
    paths = sorted((data / "scipion").glob("*.template"))
    assert len(paths) >= 3
    for path in paths:
        workflow = read_scipion_workflow(path)
        translation = translate_scipion(workflow)
        unknown = [one for one in translation.left if "not known" in one.why or "not translated" in one.why]
        assert unknown == [], path.name
        assert len(translation.steps_of) >= 0.65 * len(workflow.protocols), path.name


@pytest.mark.parametrize("name", ["STA_HIV", "STA_apoferritin"])
def test_links_between_translated_protocols_hold(template, name):
    workflow = read_scipion_workflow(template(name))
    translation = translate_scipion(workflow)
    feeds = {step.name: set(step.feeds.values()) for step in translation.steps}

    def upstream(name):
        return {name}.union(*(upstream(source) for source in feeds[name]))

    n_links = 0
    for protocol in workflow.protocols:
        for link in protocol.links:
            # What has no step is named itself: the mask of a postprocessing is found from the map here.
            if {protocol.id, link.source} <= translation.steps_of.keys():
                n_links += 1
                way = upstream(translation.steps_of[protocol.id][-1])
                assert way & set(translation.steps_of[link.source]), (protocol.title, link)
    assert n_links >= 20


def test_the_hiv_template_says_what_its_tutorial_says(template):
    translation = translate_scipion(read_scipion_workflow(template("STA_HIV")))
    assert parameters(translation, "import_movies") == {
        "directory": "%(SCIPION_TESTS)s/reliontomo_STA_HIV_smalldataset/",
        "mdoc": "*.mdoc",
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "pixel_size_angstrom": 0.675,
        "initial_dose_per_angstrom2": 0.0,
        "dose_per_tilt_per_angstrom2": 3.0,
    }
    assert parameters(translation, "align_series") == {
        "method": "beads",
        "bead_diameter_angstrom": 100.0,  # 10 nm
        "axis": "grouped",
        "tilt": "grouped",
        "magnification": "fixed",
    }
    # 300 voxels of 0.675 A x 2 (motion correction) x 4 (preprocessing).
    assert parameters(translation, "reconstruct")["thickness_angstrom"] == pytest.approx(300 * 5.4)
    assert parameters(translation, "correct_ctf") == {"method": "phase_flip"}
    assert parameters(translation, "bin_series") == {"binning": 4, "values": "standard"}
    assert parameters(translation, "refine")["diameter_angstrom"] == 350
    assert parameters(translation, "initial_model")["diameter_angstrom"] == 350
    by_name = {step.name: step.feeds for step in translation.steps}
    assert by_name["assign_poses"] == {"input": "erase_beads", "poses_from": "align_series"}
    assert by_name["assign_ctf"] == {"input": "assign_poses", "ctf_from": "estimate_ctf"}
    assert by_name["correct_ctf"] == {"input": "assign_ctf"}
    assert by_name["assign_series_747"] == {"input": "pick_on_surfaces", "series_from": "assign_ctf"}
    assert by_name["extract_particles_747"] == {"input": "assign_series_747"}
    extraction = {"binning": 6.0, "box_px": 128, "crop_px": 64, "max_dose_per_angstrom2": 50, "min_tilts": 1}
    for number, output in ((700, "volumes"), (747, "stacks")):
        made = next(made for made in translation.steps if made.name == f"extract_particles_{number}")
        assert made.parameters == {**extraction, "output": output, "float16": False}
    assert by_name["refine"] == {"input": "extract_particles_747", "reference_from": "initial_model"}


def test_units_and_signs_of_warp(tmp_path):
    warp = {
        "inputTSMovies": "1.outputTiltSeriesM",
        "binFactor": 2.0,
        "m_range_min": 500.0,
        "m_range_max": 10.0,
        "bfactor": -500.0,
        "x": 2,
        "y": 3,
        "z": 8,
        "eer_groupexposure": 0.5,
        "window": 512,
        "defocus_min": 0.5,
        "defocus_max": 8.0,
        "gainFlip": 1,
    }
    made = translated(tmp_path, movies(samplingRate=1.5), (2, "ProtWarpTSMotionCorr", warp))
    assert parameters(made, "align_frames") == {
        "binning": 2.0,
        "coarsest_angstrom": 500.0,
        "finest_angstrom": 10.0,
        "b_factor_angstrom2": 500.0,
        "local_grid_xyt": [2, 3, 8],
        "eer_dose_per_fraction": 0.5,
    }
    assert parameters(made, "estimate_ctf") == {
        "tile_angstrom": 512 * 3.0,  # the window is in binned pixels
        "min_defocus_angstrom": 5000.0,
        "max_defocus_angstrom": 80000.0,
    }
    assert [one.parameter for one in made.left] == ["gainFlip"]


def test_what_belongs_to_the_import_goes_there(tmp_path):
    motion = {"inputTiltSeriesM": "1.out", "gainRot": 1, "gainFlip": 2, "eerSampling": 1, "patchX": 5}
    made = translated(
        tmp_path, movies(gainFile="/data/gain.mrc", tiltAxisAngle=-95.0), (2, "ProtTsMotionCorr", motion)
    )
    assert [step.step for step in made.steps] == ["import_movies", "prepare_gain", "align_frames"]
    source = parameters(made, "import_movies")
    assert source["gain_quarter_turns"] == 1
    assert source["gain_flip"] == "left_right"
    assert source["eer_sampling"] == 2
    assert source["tilt_axis_deg"] == -95.0
    assert [(one.parameter, one.value) for one in made.left] == [("patchX", 5)]


def test_a_pattern_is_no_mdoc(tmp_path):
    made = translated(tmp_path, movies(filesPattern="{TS}-{TO}-{TA}.mrc"))
    assert parameters(made, "import_movies") == {"directory": "/data", "pattern": "{TS}-{TO}-{TA}.mrc"}


def test_pixels_become_angstrom_or_are_listed(tmp_path):
    reconstruct = {"inputSetOfTiltSeries": "2.out", "tomoThickness": 350, "tomoShiftZ": 75}
    chain = (
        (2, "ProtImodTsNormalization", {"inputSetOfTiltSeries": "1.out", "binning": 4}),
        (3, "ProtImodTomoReconstruction", {**reconstruct, "fakeInteractionsSIRT": 8}),
    )
    made = translated(tmp_path, movies(samplingRate=1.35), *chain)
    assert parameters(made, "reconstruct") == {
        "thickness_angstrom": pytest.approx(350 * 5.4),
        "voxel_size_angstrom": 5.4,
        "sirt_like_iterations": 8,
    }
    assert [one.parameter for one in made.left] == ["tomoShiftZ"]
    made = translated(tmp_path, movies(), *chain)
    assert parameters(made, "reconstruct") == {"sirt_like_iterations": 8}
    assert {one.parameter for one in made.left} == {"tomoThickness", "tomoShiftZ"}


def test_aretomo_is_several_steps(tmp_path):
    aretomo = {
        "inputSetOfTiltSeries": "1.out",
        "binFactor": 4,
        "tomoThickness": 1300,
        "alignZ": 1120,
        "refineTiltAxis": 2,
        "doDW": True,
        "doEstimateCtf": True,
        "reconMethod": 1,
        "SARTiter": 15,
    }
    made = translated(
        tmp_path,
        movies(samplingRate=2.0),
        (2, "ProtAreTomoAlignRecon", aretomo),
        (3, "ProtImodApplyTransformationMatrix", {"inputSetOfTiltSeries": "2.TiltSeries_1", "binning": 4}),
        (4, "ProtTomo3dProtDenoiseTomogram", {"inputSetTomograms": "2.Tomograms"}),
    )
    feeds = {step.step: step.feeds.get("input") for step in made.steps}
    assert feeds == {
        "import_movies": None,
        "select_tilts": "import_movies",
        "estimate_ctf": "select_tilts",
        "weight_dose": "estimate_ctf",
        "align_series": "weight_dose",
        "reconstruct": "align_series",
        "apply_alignment": "align_series",
        "denoise": "reconstruct",
    }
    assert parameters(made, "reconstruct") == {"binning": 4, "thickness_angstrom": 2600.0}  # unbinned pixels
    assert parameters(made, "align_series") == {"method": "no_markers", "axis": "per_view"}
    assert [one.parameter for one in made.left] == ["alignZ"]


def test_batchruntomo_patches(tmp_path):
    values = {"inputSetOfTiltSeries": "1.out", "alignMode": 1, "patchSize": 500, "patchOverlapPercent": 80}
    made = translated(tmp_path, movies(), (2, "ProtImodBRT", values))
    assert parameters(made, "align_series") == {
        "method": "patches",
        "patch_angstrom": 500,
        "patch_overlap": pytest.approx(0.8),
    }


def test_novactf_in_two_protocols_is_one_step(tmp_path):
    made = translated(
        tmp_path,
        movies(samplingRate=5.4),
        (2, "CistemProtTsCtffind", {"inputTiltSeries": "1.out"}),
        (
            3,
            "ProtNovaCtfTomoDefocus",
            {
                "inputSetOfTiltSeries": "1.out",
                "inputSetOfCtfTomoSeries": "2.ctf",
                "tomoThickness": 350,
                "defocusStep": 30,
            },
        ),
        (4, "ProtNovaCtfTomoReconstruction", {"inputSetOfTiltSeries": "3.out"}),
    )
    assert [step.step for step in made.steps] == [
        "import_movies",
        "estimate_ctf",
        "assign_ctf",
        "reconstruct",
    ]
    assert parameters(made, "reconstruct")["ctf_step_angstrom"] == 300.0  # 30 nm
    assert made.steps[2].feeds == {"input": "import_movies", "ctf_from": "estimate_ctf"}


def test_excluded_views_are_read_from_their_file(tmp_path):
    views = tmp_path / "views.txt"
    views.write_text("TS_01 1\nTS_03 1,39-41\n")
    chain = (2, "ProtImodExcludeViews", {"inputSetOfTiltSeries": "1.out", "excludeViewsFile": str(views)})
    made = translated(tmp_path, movies(), chain)
    assert parameters(made, "exclude_tilts") == {
        "restack": True,
        "views": {"TS_01": [1], "TS_03": [1, 39, 40, 41]},
    }
    views.unlink()
    made = translated(tmp_path, movies(), chain)
    assert [one.parameter for one in made.left] == ["excludeViewsFile"]


def test_what_a_step_takes_is_of_its_kind(tmp_path):
    """A chain whose kinds do not fit is led back to what fits, with a word."""
    made = translated(
        tmp_path,
        (1, "ProtImportTs", {"filesPath": "/data"}),
        (2, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "1.outputTiltSeries"}),
        (3, "ProtImodXraysEraser", {"inputSetOfTiltSeries": "2.Tomograms"}),
        (4, "DynamoModelWorkflow", {"inputMeshes": "1.outputTiltSeries"}),
    )
    assert {step.step: step.feeds.get("input") for step in made.steps} == {
        "import_tilt_series": None,
        "reconstruct": "import_tilt_series",
        "erase_xrays": "import_tilt_series",
    }
    assert [one.why for one in made.left] == [
        "erase_xrays takes a TiltSeries: that of import_tilt_series",
        "pick_on_surfaces needs a Particles, and import_tilt_series gives a TiltSeries (inputMeshes from 1)",
    ]


def test_links_that_no_input_takes_are_listed(tmp_path):
    made = translated(
        tmp_path,
        (1, "ProtImportTs", {"filesPath": "/data"}),
        (2, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "1.outputTiltSeries"}),
        (3, "DynamoBoxing", {"inputTomograms": "2.Tomograms", "inputMask": "2.Tomograms"}),
    )
    assert [(one.parameter, one.value) for one in made.left] == [("inputMask", "2.Tomograms")]


def test_a_ctf_that_a_tomogram_was_made_without_is_listed(tmp_path):
    made = translated(
        tmp_path,
        (1, "ProtImportTs", {"filesPath": "/data"}),
        (2, "CistemProtTsCtffind", {"inputTiltSeries": "1.outputTiltSeries"}),
        (3, "ProtImodTomoReconstruction", {"inputSetOfTiltSeries": "1.outputTiltSeries"}),
        (4, "ProtWarpDeconvTomo", {"inputTomograms": "3.Tomograms", "inputCTFs": "2.CTFs"}),
    )
    assert [step.step for step in made.steps][-1] == "deconvolve"
    assert [one.why for one in made.left] == [
        "reconstruct was made without this CTF: connect it before the reconstruction"
    ]


def test_a_protocol_that_takes_another_as_a_whole(tmp_path):
    made = translated(
        tmp_path,
        movies(),
        (2, "ProtTsMotionCorr", {"inputTiltSeriesM": "1.out"}),
        (3, "ProtTomo3dReconstrucTomo", {"inputSetOfTiltSeries": "2.tiltSeries"}),
        (4, "DynamoBoxing", {"inputTomograms": "3.tomograms"}),
        (5, "ProtRelionPrepareData", {"inputCoords": "4.meshes"}),
        (6, "ProtRelionTomoReconstruct", {"protPrepare": "5.", "binFactor": 4.0}),
    )
    last = made.steps[-1]
    assert last.feeds == {"input": "align_frames"}  # the series of the particles' tomograms
    assert last.parameters == {"binning": 4.0}


def test_what_follows_an_unknown_protocol_is_named(tmp_path):
    made = translated(
        tmp_path,
        movies(),
        (2, "ProtOfTomorrow", {"inputTiltSeries": "1.out"}),
        (3, "CistemProtTsCtffind", {"inputTiltSeries": "2.out"}),
    )
    assert [step.step for step in made.steps] == ["import_movies"]
    assert [str(one) for one in made.left] == [
        "2 ProtOfTomorrow: this protocol is not known (inputTiltSeries from 1)",
        "3 CistemProtTsCtffind: inputTiltSeries comes from 2 ProtOfTomorrow, which was not translated "
        "(inputTiltSeries from 2)",
    ]


def test_text_in_place_of_a_number_is_listed(tmp_path):
    made = translated(
        tmp_path,
        movies(),
        (2, "ProtTsMotionCorr", {"inputTiltSeriesM": "1.out", "alignFrameN": "abc"}),
        (3, "ProtExclViewFilter", {"inTsSet": "2.TiltSeries", "minTilt": "abc"}),
    )
    assert [step.step for step in made.steps][:2] == ["import_movies", "align_frames"]
    left = [str(one) for one in made.left]
    assert any("alignFrameN" in line for line in left), left
    assert any("minTilt" in line for line in left), left


def test_text_in_place_of_a_choice_between_steps_is_one_sentence(tmp_path):
    with pytest.raises(UserInputError, match="2 ProtExclViewFilter has a value that cannot be read"):
        translated(tmp_path, movies(), (2, "ProtExclViewFilter", {"inTsSet": "1.out", "minViews": "abc"}))
