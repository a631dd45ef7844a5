"""Our workflows as Scipion's, and back by the import: the same steps, links and values."""

from __future__ import annotations

import json

import pytest

from cryoloom.contract import find_step
from cryoloom.engine.graph.workflow import Workflow, load_workflow, shipped_workflows
from cryoloom.errors import UserInputError
from cryoloom.scipion.workflow_export import scipion_of, write_scipion
from cryoloom.scipion.workflow_import import import_scipion

CHAIN = Workflow.model_validate(
    {
        "name": "chain",
        "steps": [
            {
                "step": "import_movies",
                "parameters": {"voltage_kv": 300, "pixel_size_angstrom": 1.5, "tilt_axis_deg": 85.0},
            },
            {"step": "align_frames"},
            {"step": "erase_xrays"},
            {
                "step": "estimate_ctf",
                "parameters": {"low_resolution_angstrom": 50, "min_defocus_angstrom": 10000},
            },
            {"step": "correct_ctf"},
            {"step": "reconstruct", "parameters": {"thickness_angstrom": 3000.0}},
        ],
    }
)


def test_there_and_back(tmp_path):
    exported = write_scipion(CHAIN, tmp_path / "chain.json")
    protocols = {
        entry["object.className"]: entry for entry in json.loads((tmp_path / "chain.json").read_text())
    }
    movies, xrays = protocols["ProtTsMotionCorr"], protocols["ProtImodXraysEraser"]
    assert movies["inputTiltSeriesM"] == "100.outputTiltSeriesM"
    # The images go past the CTF, which is an input of its own.
    correction = protocols["ProtImodCtfCorrection"]
    assert correction["inputSetOfTiltSeries"] == f"{xrays['object.id']}.TiltSeries"
    assert correction["inputSetOfCtfTomoSeries"].endswith(".CTFs")
    assert protocols["ProtImportTsMovies"]["voltage"] == 300
    found = import_scipion(tmp_path / "chain.json").workflow
    assert [node.step for node in found.steps if node.step != "assign_ctf"] == [n.step for n in CHAIN.steps]
    back = {node.step: node.parameters for node in found.steps}
    for node in CHAIN.steps:
        for name, value in node.parameters.items():
            start = f"{node.name}: {name}"
            assert back[node.step].get(name) == pytest.approx(value) or any(
                line.startswith(start) for line in exported.left
            ), start
    assert back["estimate_ctf"]["min_defocus_angstrom"] == pytest.approx(10000)


@pytest.mark.parametrize("name", ["average", "lamella", "exosomes", "beads_and_ctf"])
def test_shipped_workflows_say_what_they_leave(name, tmp_path):
    native = load_workflow(name)
    exported = write_scipion(native, tmp_path / f"{name}.json")
    named = {line.split(":")[0] for line in exported.left}
    labels = {entry["object.label"].partition(": ")[2] for entry in exported.protocols}
    assert {node.name for node in native.steps} <= named | labels
    ids = {entry["object.id"] for entry in exported.protocols}
    links = [
        v for e in exported.protocols for v in e.values() if isinstance(v, str) and v[:3] in ids and "." in v
    ]
    assert len(links) >= len(exported.protocols) - 2  # all but sources are fed
    assert import_scipion(tmp_path / f"{name}.json").workflow.steps


RENAMED = {"tiltSeries": "TiltSeries"}
"""Outputs with a new name since the templates: that of ProtTsMotionCorr, in version 4.0 of its plugin."""
WORKFLOWS = ["average", "apoferritin", "lamella", "exosomes", "beads_and_ctf", "tomogram"]


@pytest.fixture
def real_protocols(data):
    """Entries of Scipion's own templates by class, and the names of their outputs that others take."""
    entries, outputs = {}, {}
    for path in sorted((data / "scipion").glob("*.template")):
        text = path.read_text()
        protocols = json.loads(text[text.index("[\n") :])
        class_of = {one["object.id"]: one["object.className"] for one in protocols}
        for one in protocols:
            entries.setdefault(one["object.className"], []).append(one)
            for value in one.values():
                id, _, output = str(value).partition(".")
                if output and id in class_of:
                    # Scipion numbers what was made again: TiltSeries_3.
                    outputs.setdefault(class_of[id], set()).add(output.partition("_")[0])
    return entries, outputs


@pytest.mark.parametrize("name", WORKFLOWS)
def test_protocols_have_the_structure_of_scipions_own(real_protocols, name):
    entries, outputs = real_protocols
    every = set.intersection(*(set(one) for ones in entries.values() for one in ones))
    exported = scipion_of(load_workflow(name)).protocols
    class_of = {one["object.id"]: one["object.className"] for one in exported}
    compared = 0
    for one in exported:
        assert every <= set(one)
        known = entries.get(one["object.className"])
        if known is not None:
            compared += 1
            assert set(one) <= set().union(*known), one["object.className"]
        for value in one.values():
            id, _, output = str(value).partition(".")
            # In the templates CTFs are taken from a curation of them, not from CTFFIND itself.
            if output and id in class_of and class_of[id] in outputs and "CTF" not in output:
                assert {output, RENAMED.get(output, output)} & outputs[class_of[id]], class_of[id]
    assert compared >= 3


KINDS = {
    "outputTiltSeriesM": "movies", "outputTiltSeries": "series", "tiltSeries": "series",
    "TiltSeries": "series", "InterpolatedTiltSeries": "series", "CTFs": "ctf", "CTFTomoSeries": "ctf",
    "FiducialModelGaps": "landmarks", "Tomograms": "tomograms", "tomograms": "tomograms", "meshes": "meshes",
    "coordinates": "coordinates", "relionParticles": "particles",
    "average": "average", "postProcessVolume": "average",
}  # fmt: skip
"""What an output holds, by its name (_possibleOutputs of the plugins)."""
ACCEPTED = {
    "inputTiltSeriesM": {"movies"}, "inputTSMovies": {"movies"}, "inputSetOfTiltSeries": {"series"},
    "inputTiltSeries": {"series"}, "inputTS": {"series"}, "inputSet": {"series"},
    "setTMSetOfTiltSeries": {"series"}, "getTMSetOfTiltSeries": {"series"},
    "inputSetOfCtfTomoSeries": {"ctf"}, "inputCtfTs": {"ctf"}, "inputSetOfLandmarkModels": {"landmarks"},
    "inputCTFs": {"ctf"}, "inTsSet": {"series"}, "inputTomograms": {"tomograms"},
    "inputMeshes": {"meshes"}, "referenceVolume": {"average"}, "inVolume": {"average"},
    "inReParticles": {"particles"},
}  # fmt: skip
"""What the pointers of the protocols accept (pointerClass in the plugins)."""


@pytest.mark.parametrize("name", shipped_workflows())
def test_every_link_is_to_a_kind_that_the_input_accepts(name):
    """Scipion loads a wrong link without a word, and the protocol fails when it is run."""
    exported = scipion_of(load_workflow(name)).protocols
    class_of = {one["object.id"]: one["object.className"] for one in exported}
    for one in exported:
        for parameter, value in one.items():
            id, _, output = str(value).partition(".")
            if id in class_of and output:
                accepted = ACCEPTED[parameter]
                if one["object.className"] == "ProtRelion5ExtractSubtomos" and parameter == "inReParticles":
                    accepted = {"coordinates", "particles"}
                assert KINDS[output] in accepted, (one["object.label"], parameter, value)


def test_a_refinement_takes_the_cut_particles_and_the_first_model():
    by_label = {
        one["object.label"].partition(": ")[2]: one for one in scipion_of(load_workflow("average")).protocols
    }
    ids = {label: one["object.id"] for label, one in by_label.items()}
    assert by_label["initial_model"]["inReParticles"] == f"{ids['extract_for_model']}.relionParticles"
    refine = by_label["refine_coarse"]
    assert refine["inReParticles"] == f"{ids['extract_for_refinement']}.relionParticles"
    assert refine["referenceVolume"] == f"{ids['initial_model']}.average"
    assert by_label["extract_fine"]["inReParticles"] == f"{ids['refine_coarse']}.relionParticles"
    assert by_label["postprocess"]["inVolume"] == f"{ids['reconstruct_particle']}.average"


def test_picks_are_cut_before_a_refinement_and_missing_ones_are_said():
    by_template = scipion_of(load_workflow("average_by_template"))
    cut = next(
        one for one in by_template.protocols if one["object.className"] == "ProtRelion5ExtractSubtomos"
    )
    refine = next(one for one in by_template.protocols if one["object.label"].endswith(": refine"))
    assert cut["inReParticles"].endswith(".coordinates")
    assert refine["inReParticles"] == f"{cut['object.id']}.relionParticles"
    assert any("refine: ProtRelion5ExtractSubtomos was put before it" in line for line in by_template.left)
    assert any("pick_by_template: import the template" in line for line in by_template.left)
    without = scipion_of(load_workflow("apoferritin"))  # its picker has no protocol
    assert any("initial_model: no protocol gives its particles; connect" in line for line in without.left)


def test_methods_of_alignment_are_chosen_and_those_that_scipion_lacks_are_said():
    def alignment(**parameters):
        steps = [{"step": "import_tilt_series"}, {"step": "align_series", "parameters": parameters}]
        return scipion_of(Workflow.model_validate({"name": "one", "steps": steps}))

    assert alignment(method="patches").protocols[1]["alignMode"] == 1  # 0, the default, is by beads
    beads = alignment(method="beads", axis="one", tilt="fixed").protocols
    assert beads[1]["typeOfModel"] == 0
    assert (beads[2]["rotationSolutionType"], beads[2]["tiltAngleSolutionType"]) == (1, 0)
    by_itself = alignment()
    assert by_itself.protocols[1]["object.className"] == "ProtAreTomoAlignRecon"
    assert by_itself.protocols[1]["makeTomo"] is False
    assert (
        by_itself.protocols[1]["doEstimateCtf"] is False
    )  # AreTomo in Scipion does it unless it is set not to
    assert by_itself.left == ("align_series: method = 'auto' becomes that of ProtAreTomoAlignRecon",)


def test_steps_that_run_programs_become_the_protocols_of_these_programs():
    exported = scipion_of(load_workflow("facility_programs"))
    assert [one["object.className"] for one in exported.protocols] == [
        "ProtImportTsMovies",
        "ProtTsMotionCorr",
        "CistemProtTsCtffind",
        "ProtAreTomoAlignRecon",
        "ProtAreTomoAlignRecon",
    ]
    assert exported.protocols[-1]["skipAlign"] is True


def test_lengths_in_pixels_need_a_pixel_size():
    def reconstruction(**parameters):
        steps = [
            {"step": "import_tilt_series", "parameters": parameters},
            {
                "step": "reconstruct",
                "parameters": {"method": "sirt", "iterations": 30, "thickness_angstrom": 1500},
            },
        ]
        return scipion_of(Workflow.model_validate({"name": "one", "steps": steps}))

    known = reconstruction(pixel_size_angstrom=5.0)
    assert (known.protocols[1]["method"], known.protocols[1]["nIterations"]) == (1, 30)
    assert known.protocols[1]["height"] == pytest.approx(300)
    assert known.left == ()
    assert "becomes pixels in height, and the workflow has no pixel size" in reconstruction().left[0]


def test_a_workflow_without_any_protocol():
    alone = Workflow.model_validate({"name": "alone", "steps": [{"step": "prepare_gain", "input": "run:1"}]})
    with pytest.raises(UserInputError, match="no step of alone has a protocol in Scipion"):
        scipion_of(alone)


def test_defaults_of_ours_are_written_because_scipions_are_others():
    steps = [{"step": "import_tilt_series"}, {"step": "estimate_ctf"}]
    ctf = scipion_of(Workflow.model_validate({"name": "one", "steps": steps})).protocols[1]
    defaults = find_step("estimate_ctf").params()
    assert ctf["minDefocus"] == pytest.approx(defaults.min_defocus_angstrom)
    assert ctf["maxDefocus"] == pytest.approx(defaults.max_defocus_angstrom)
    assert "inputTiltSeries" in ctf


@pytest.mark.parametrize(("output", "written"), [("stacks", True), ("volumes", False)])
def test_a_choice_of_two_words_becomes_scipions_switch(output, written):
    steps = [
        {"step": "import_tilt_series"},
        {"step": "reconstruct"},
        {"step": "import_coordinates"},
        {"step": "extract_particles", "parameters": {"output": output}},
    ]
    protocols = scipion_of(Workflow.model_validate({"name": "one", "steps": steps})).protocols
    cut = next(one for one in protocols if one["object.className"] == "ProtRelion5ExtractSubtomos")
    assert bool(cut["write2dStacks"]) is written


def test_a_selection_of_tilts_is_the_filter_of_views(tmp_path):
    limits = {"min_tilt_deg": -54.0, "max_dose_per_angstrom2": 90.0}
    shifts = {"find_dark": False, "find_covered": False, "find_blurred": False, "shift_fraction": 0.15}
    workflow = Workflow.model_validate(
        {
            "name": "two",
            "steps": [
                {"step": "import_tilt_series"},
                {"name": "first", "step": "select_tilts", "parameters": limits},
                {"step": "align_series", "parameters": {"method": "no_markers"}},
                {"name": "second", "step": "select_tilts", "parameters": shifts},
            ],
        }
    )
    exported = write_scipion(workflow, tmp_path / "two.json")
    first, second = (one for one in exported.protocols if one["object.className"] == "ProtExclViewFilter")
    assert (first["qualityFilterFactor"], first["minTilt"], first["maxTilt"]) == (2, -54.0, 90.0)
    assert (first["maxDose"], first["maxShiftX"], first["minViews"]) == (90.0, 1.0, 1)
    assert (second["qualityFilterFactor"], second["maxShiftX"], second["maxShiftY"]) == (0, 0.15, 0.15)
    assert exported.left == ()
    # AreTomo's first step in the import is a selection too: Scipion's alignment excludes dark tilts.
    back = [
        node.parameters
        for node in import_scipion(tmp_path / "two.json").workflow.steps
        if node.step == "select_tilts"
    ]
    assert {name: back[0][name] for name in limits} == limits
    assert {name: back[-1][name] for name in shifts} == shifts


def test_imported_tomograms():
    given = {"directory": "/data", "files": "*_rec.mrc", "voxel_size_angstrom": 9.1, "mirrored_z": True}
    steps = [{"step": "import_tomograms", "parameters": given}, {"step": "deconvolve"}]
    exported = scipion_of(Workflow.model_validate({"name": "tomograms", "steps": steps}))
    first, second = exported.protocols
    assert first["object.className"] == "ProtImportTomograms"
    assert (first["filesPath"], first["filesPattern"], first["samplingRate"]) == ("/data", "*_rec.mrc", 9.1)
    assert second["inputTomograms"] == f"{first['object.id']}.Tomograms"
    assert any("mirrored_z" in line for line in exported.left)
