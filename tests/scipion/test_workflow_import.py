"""A Scipion workflow becomes one of ours that loads, and whose links are all there."""

from __future__ import annotations

import json

import pytest

from cryoloom.engine.graph.workflow import load_workflow
from cryoloom.errors import UserInputError
from cryoloom.scipion.workflow_import import import_scipion


@pytest.fixture
def template(data):
    return lambda name: data / "scipion" / f"tutorial_{name}.json.template"


@pytest.mark.parametrize("name", ["STA_HIV", "STA_apoferritin", "nonOrientedPicking_ribosome"])
def test_the_file_written_loads_as_the_same_graph(template, tmp_path, name):
    imported = import_scipion(template(name))
    path = tmp_path / "imported.yaml"
    path.write_text(imported.to_yaml())
    loaded = load_workflow(path)
    assert loaded == imported.workflow
    translated = {step.name: dict(step.feeds) for step in imported.translation.steps}
    dropped = {one.parameter for one in imported.left if "has no such input" in one.why}
    for node in loaded.steps:
        feeds = {role: source.split(".")[0] for role, source in node.feeds.items()}
        links = translated[node.name]
        if node.input is not None and node.input.endswith(".particles") and "reference_from" in links:
            links = {
                "input": links.pop("reference_from")
            }  # the first model's particles, with it as reference
        assert feeds == {
            role: source for role, source in links.items() if role in feeds or role not in dropped
        }
    assert f"Not translated: {len(imported.left)}" in path.read_text().splitlines()[0]


def test_what_a_step_does_not_know_or_allow_is_listed(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        """[{"object.className": "ProtImportTsMovies", "object.id": "1", "filesPath": "/data",
             "filesPattern": "*.mdoc", "voltage": 300.0},
            {"object.className": "ProtImodXraysEraser", "object.id": "2", "object.label": "eraser",
             "inputSetOfTiltSeries": "1.out", "peakCriterion": 2.0, "diffCriterion": 6.0}]"""
    )
    imported = import_scipion(path)
    assert dict(imported.workflow.node("erase_xrays").parameters) == {"difference_sigma": 6.0}
    assert [(one.parameter, one.value) for one in imported.left] == [("peak_sigma", 2.0)]
    assert "erase_xrays does not allow it: Input should be greater than 3" in imported.left[0].why


def test_of_values_that_do_not_go_together_one_is_listed(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        """[{"object.className": "ProtImportTsMovies", "object.id": "1", "filesPath": "/data"},
            {"object.className": "ProtTsMotionCorr", "object.id": "2", "inputTiltSeriesM": "1.out",
             "binFactor": 2.0, "alignFrame0": 5, "alignFrameN": 3}]"""
    )
    imported = import_scipion(path)
    assert dict(imported.workflow.node("align_frames").parameters) == {"binning": 2.0, "first_frame": 5}
    assert [(one.parameter, one.value) for one in imported.left] == [("last_frame", 3)]
    assert "got frames 5 to 3" in imported.left[0].why


def test_the_whole_template_becomes_steps(template):
    steps = [node.step for node in import_scipion(template("STA_HIV")).workflow.steps]
    assert steps[:3] == ["import_movies", "align_frames", "erase_xrays"]
    assert "assign_poses" in steps
    assert "reconstruct" in steps
    assert "pick_by_hand" in steps


STREAMING = """Streaming, as Scipion's templates of 2026 do it.
[{"object.className": "ProtComposeTS", "object.id": "3", "inputMicrographs": "2.outputMicrographs",
  "filesPath": "~Path of the mdoc files|/data/session|2|filesPath~", "mdocPattern": "*/frames/*.mdoc",
  "isTomo5": true, "mdoc_bug_Correction": false, "percentTiltsRequired": 3, "time4NextTilt": "180"},
 {"object.className": "ProtMotionCorr", "object.id": "2", "inputMovies": "1.outputMovies", "binFactor": 2.0,
  "gainRot": 1, "eerGroup": 8},
 {"object.className": "ProtImportMovies", "object.id": "1", "filesPath": "~Movies|/data/movies|2~",
  "filesPattern": "*/frames/*.eer", "voltage": 300.0, "samplingRate": 0.675, "dosePerFrame": 3.0,
  "gainFile": "~Gain|/data/ref.gain|2|gainFile~"},
 {"object.className": "%s", "object.id": "4", "inputSetOfTiltSeries": "3.TiltSeries", "binning": 4.0}]
"""


@pytest.mark.parametrize(
    "older", ["ProtImodTsNormalization", "ProtImodTSNormalization", "ProtTSNormalization"]
)
def test_streaming_templates_are_an_import_by_mdocs(tmp_path, older):
    """Movies, sums and series are three protocols there; placeholders have three parts or four."""
    path = tmp_path / "streaming.json.template"
    path.write_text(STREAMING % older)
    imported = import_scipion(path)
    workflow = imported.workflow
    steps = ["import_movies", "prepare_gain", "align_frames", "bin_series"]
    assert [node.step for node in workflow.steps] == steps
    assert [node.input for node in workflow.steps] == [None, *steps[:3]]
    assert dict(workflow.node("import_movies").parameters) == {
        "directory": "/data/session",
        "mdoc": "*/frames/*.mdoc",
        "frames_directory": "/data/movies",
        "voltage_kv": 300.0,
        "pixel_size_angstrom": 0.675,
        "gain": "/data/ref.gain",
        "gain_quarter_turns": 1,
        "leave_out_missing": True,  # a part of the tilts is enough there
    }
    assert not [one for one in imported.left if not one.parameter]
    assert any(
        one.parameter == "dosePerFrame" and "set dose_per_tilt_per_angstrom2" in one.why
        for one in imported.left
    )


def test_a_template_that_leaves_its_input_open_begins_with_an_import(tmp_path):
    path = tmp_path / "open.json"
    path.write_text(
        """[{"object.className": "ProtImodXraysEraser", "object.id": "1"},
            {"object.className": "ProtImodDoseFilter", "object.id": "2", "inputSetOfTiltSeries": "1.out"}]"""
    )
    imported = import_scipion(path)
    assert [node.step for node in imported.workflow.steps] == [
        "import_tilt_series",
        "erase_xrays",
        "weight_dose",
    ]
    assert any("set stack of import_tilt_series" in one.why for one in imported.left)


def test_imported_tomograms_and_binned_ones(tmp_path):
    path = tmp_path / "tomograms.json"
    path.write_text(
        """[{"object.className": "ProtImportTomograms", "object.id": "1", "filesPath": "/data",
             "filesPattern": "{TS}_rec.mrc", "samplingRate": 9.1, "voltage": 200.0},
            {"object.className": "ProtImodTomoNormalization", "object.id": "2", "inputSetOfTomograms": "1.T",
             "binning": 2.0},
            {"object.className": "EmanProtTomoBoxing", "object.id": "3", "inputTomograms": "2.T",
             "boxSize": 44}]"""
    )
    imported = import_scipion(path)
    assert [node.step for node in imported.workflow.steps] == ["import_tomograms", "pick_by_hand"]
    assert imported.workflow.node("import_tomograms").parameters == {
        "directory": "/data", "files": "*_rec.mrc", "voxel_size_angstrom": 9.1, "voltage_kv": 200.0,
    }  # fmt: skip
    assert imported.workflow.node("pick_by_hand").input == "import_tomograms"
    assert [(one.parameter, one.why) for one in imported.left] == [
        ("binning", "volumes are binned where they are made: set binning of reconstruct")
    ]


def test_an_empty_translation_is_an_error(tmp_path):
    path = tmp_path / "nothing.json"
    path.write_text('[{"object.className": "XmippProtCL2D", "object.id": "1"}]')
    with pytest.raises(UserInputError, match="translates to no step: 1 XmippProtCL2D: no 2D classification"):
        import_scipion(path)


def test_the_postprocessing_of_relion_is_translated(tmp_path):
    entries = [
        {"object.className": "ProtImportTs", "object.id": "1"},
        {"object.className": "ProtImodTomoReconstruction", "object.id": "2", "inTsSet": "1.outputTiltSeries"},
        {"object.className": "DynamoBoxing", "object.id": "3", "inputTomograms": "2.Tomograms"},
        {"object.className": "DynamoModelWorkflow", "object.id": "4", "inputMeshes": "3.meshes"},
        {
            "object.className": "ProtRelion5ReconstructParticle",
            "object.id": "5",
            "inReParticles": "4.coordinates",
        },
        {
            "object.className": "ProtRelionPostProcess",
            "object.id": "6",
            "inVolume": "5.average",
            "estimateBFactor": False,
            "useOwnBFactor": True,
            "userBFactor": -80,
            "skipFscWeight": False,
            "adHocLowPassFilter": 5,
            "mtf": "/data/mtf.star",
            "origDetectorPixSize": 0.7,
        },
    ]
    path = tmp_path / "two.json"
    path.write_text(json.dumps(entries))
    found = import_scipion(path)
    node = found.workflow.node("postprocess")
    # RELION's B-factor is negative where it sharpens, ours positive; the low-pass is not asked for.
    assert node.parameters == {"b_factor_angstrom2": 80.0, "mtf": "/data/mtf.star", "mtf_pixel_angstrom": 0.7}
    assert node.input == "reconstruct_particle"
    assert not [one for one in found.left if "postprocess" in str(one).lower()]


def averaging(refined):
    """Picks, a first model, and a second extraction, of the particles ``refined``."""
    protocols = [
        {"object.className": "ProtImportTs"},
        {"object.className": "ProtImodTomoReconstruction", "inTsSet": "1.outputTiltSeries"},
        {"object.className": "DynamoBoxing", "inputTomograms": "2.Tomograms"},
        {"object.className": "DynamoModelWorkflow", "inputMeshes": "3.meshes"},
        {"object.className": "ProtRelion5ExtractSubtomos", "inReParticles": "4.coordinates"},
        {"object.className": "ProtRelionDeNovoInitialModel", "inReParticles": "5.relionParticles"},
        {"object.className": "ProtRelionRefineSubtomograms", "inReParticles": "5.relionParticles"},
        {"object.className": "ProtRelion5ExtractSubtomos", "inReParticles": refined},
        {
            "object.className": "ProtRelionRefineSubtomograms",
            "inReParticles": "8.relionParticles",
            "referenceVolume": "6.average",
        },
    ]
    return [{"object.id": str(i), **one} for i, one in enumerate(protocols, 1)]


@pytest.mark.parametrize(
    ("refined", "feed", "lost"),
    [
        ("4.coordinates", "initial_model.particles", []),  # the same picks
        ("7.relionParticles", "extract_particles_8", ["reference_from"]),  # refined since: not thrown away
    ],
)
def test_a_refinement_begins_with_the_first_model_of_the_same_picks(tmp_path, refined, feed, lost):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(averaging(refined)))
    found = import_scipion(path)
    last = [node for node in found.workflow.steps if node.step == "refine"][-1]
    assert last.input == feed
    assert [one.parameter for one in found.left] == lost
