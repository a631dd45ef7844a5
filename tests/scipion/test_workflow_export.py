"""Our workflows as Scipion's, and back by the import: the same steps, links and values."""

from __future__ import annotations

import json

import pytest

from cryoloom.engine.graph.workflow import Workflow, load_workflow
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
    assert correction["inputSetOfCtfTomoSeries"].endswith(".CTFTomoSeries")
    assert protocols["ProtImportTsMovies"]["voltage"] == 300
    found = import_scipion(tmp_path / "chain.json").workflow
    assert [node.step for node in found.steps if node.step != "assign_ctf"] == [n.step for n in CHAIN.steps]
    back = {node.step: node.parameters for node in found.steps}
    for node in CHAIN.steps:
        for name, value in node.parameters.items():
            told = f"{node.name}: {name}"
            assert back[node.step].get(name) == pytest.approx(value) or any(
                line.startswith(told) for line in exported.left
            ), told
    assert back["estimate_ctf"]["min_defocus_angstrom"] == pytest.approx(10000)


@pytest.mark.parametrize("name", ["average", "lamella", "exosomes", "beads_and_ctf"])
def test_shipped_workflows_say_what_they_leave(name, tmp_path):
    native = load_workflow(name)
    exported = write_scipion(native, tmp_path / f"{name}.json")
    told = {line.split(":")[0] for line in exported.left}
    labels = {entry["object.label"].partition(": ")[2] for entry in exported.protocols}
    assert {node.name for node in native.steps} <= told | labels
    ids = {entry["object.id"] for entry in exported.protocols}
    links = [
        v for e in exported.protocols for v in e.values() if isinstance(v, str) and v[:3] in ids and "." in v
    ]
    assert len(links) >= len(exported.protocols) - 2  # all but sources are fed
    assert import_scipion(tmp_path / f"{name}.json").workflow.steps


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
                assert output in outputs[class_of[id]], class_of[id]
    assert compared >= 3


def test_a_workflow_without_any_protocol():
    alone = Workflow.model_validate({"name": "alone", "steps": [{"step": "prepare_gain", "input": "run:1"}]})
    with pytest.raises(UserInputError, match="no step of alone has a protocol in Scipion"):
        scipion_of(alone)
