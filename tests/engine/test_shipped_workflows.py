"""Every shipped workflow loads, says what is missing, and its existing part runs on simulated movies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

import cryoloom.contract.discovery as discovery
from cryoloom.contract import Outputs, all_steps
from cryoloom.engine.graph.workflow import Workflow, link_of, load_workflow, shipped_workflows
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.model import Average, ParticleRows, Particles, Stack, Tomogram
from cryoloom.simulate.session import SimulationParams, simulate_session
from makers.made_series import make_series

WITH_PROGRAMS = [
    name
    for name in shipped_workflows()
    if any(node.step in all_steps() and all_steps()[node.step].programs for node in load_workflow(name).steps)
]
FROM_MOVIES = [name for name in shipped_workflows() if name not in ("tomogram_from_stack", *WITH_PROGRAMS)]


@pytest.mark.parametrize("name", shipped_workflows())
def test_it_loads_and_makes_a_tomogram(name):
    workflow = load_workflow(name)
    assert workflow.name == name
    assert workflow.description
    assert workflow.steps[0].input is None
    assert any(all_steps()[node.step].gives is Tomogram for node in workflow.steps)


@pytest.mark.parametrize("name", shipped_workflows())
def test_written_and_read_it_is_the_same(name):
    workflow = load_workflow(name)
    assert Workflow.model_validate(yaml.safe_load(workflow.to_yaml())) == workflow


def test_each_tutorial_has_its_workflow():
    assert {"lamella", "beads_and_ctf", "exosomes", "average", "apoferritin", "facility", "tomogram"} <= set(
        FROM_MOVIES
    )


def test_a_workflow_with_programs_has_its_native_twin():
    assert WITH_PROGRAMS == ["facility_programs"]
    by_programs = [all_steps()[node.step] for node in load_workflow("facility_programs").steps]
    native = [node.step for node in load_workflow("facility").steps]
    assert [step.beside or step.name for step in by_programs] == native


def test_a_step_gets_what_later_ones_ask_for():
    """Half tomograms are made for denoising, also through a step between, unless somebody says otherwise."""
    steps = [
        {"step": "import_tilt_series"},
        {"step": "reconstruct"},
        {"step": "trim_tomogram"},
        {"step": "denoise"},
        {"name": "other", "step": "reconstruct", "input": "import_tilt_series"},
    ]
    asked = Workflow.model_validate({"name": "w", "steps": steps})
    assert asked.node("reconstruct").parameters == {"halves": True}
    assert asked.node("other").parameters == {}
    against = asked.with_parameters({"reconstruct": {"halves": False}})
    assert against.node("reconstruct").parameters == {"halves": False}
    assert Workflow.model_validate(against.model_dump()) == against


def fake_source(params, context):
    """Two series."""
    yield from (replace(make_series(name), stack=None) for name in ("TS_01", "TS_02"))


def fake_reconstruct(series, params, context, **others):
    """A volume of noise."""
    sink = context.new_pixels("tomogram", (4, 6, 8), 10.0)
    sink[:] = context.rng.normal(0, 1, (4, 6, 8)).astype(np.float32)
    return Tomogram(series, sink, 10.0)


def fake_series(series, params, context, **others):
    """The images again."""
    sink = context.new_pixels("images", (5, 12, 16), 2.0)
    sink[:] = context.rng.normal(0, 1, (5, 12, 16)).astype(np.float32)
    return replace(series, stack=Stack(sink, 2.0))


def fake_tomogram(tomogram, params, context, **others):
    """As it is."""
    return tomogram


def fake_picks(tomogram, params, context, **others):
    """Two particles."""
    rows = ParticleRows.of(tomogram.name, np.zeros((2, 3)))
    table = context.new_table("particles", rows.columns())
    return Particles(tomogram.name, table, (tomogram.series,), (tomogram,))


def fake_average(items, params, context, **others):
    """A map of noise."""
    sink = context.new_pixels("map", (6, 6, 6), 10.0, kind="volume")
    sink[:] = context.rng.normal(0, 1, (6, 6, 6)).astype(np.float32)
    return Average(context.item_name, sink, 10.0)


def fake_refinement(items, params, context, **others):
    """A map of noise, and the particles again."""
    return Outputs(fake_average(items, params, context), {"particles": items})


def fake_series_refinement(particles, params, context, **others):
    """Particles and series as they are."""
    return Outputs(particles, {"series": particles.series})


@pytest.fixture
def fast_steps(monkeypatch):
    """Every step as it is declared, with a function that does next to nothing."""
    fakes = {}
    for name, step in all_steps().items():
        function = fake_source if step.needs is None else fake_series
        if step.gives is Tomogram:
            function = fake_tomogram if step.needs is Tomogram else fake_reconstruct
        if step.gives is Particles:
            function = fake_picks if step.needs is Tomogram else fake_tomogram
        if step.gives is Particles and step.also_gives:
            function = fake_series_refinement
        if step.gives is Average:
            function = fake_refinement if step.also_gives else fake_average
        fakes[name] = step if step.hands_on else replace(step, function=function)
    monkeypatch.setattr(discovery, "all_steps", lambda: fakes)


def n_items(workflow):
    """Items of each node: one of each series, one of what gathers them and of what follows it.

    The particles that a gathering step also gives are again one item of each tomogram.
    """
    found = {}
    for node in workflow.steps:
        source = found.get(node.input, 2)
        found[node.name] = 1 if all_steps()[node.step].gathers else source
    return found


@pytest.mark.usefixtures("fast_steps")
@pytest.mark.parametrize("name", shipped_workflows())
def test_it_runs_with_every_link(tmp_path, name):
    workflow = load_workflow(name)
    project = Project.create(tmp_path / "project")
    summary = project.run_workflow(workflow)
    assert [(item.name, item.error) for item in summary.failed] == []
    assert summary.n_done == sum(n_items(workflow).values())
    runs = {run.node: run for run in project.database.runs()}
    for node in workflow.steps:
        fed_by = {runs[link_of(source).node].id for source in node.feeds.values()}
        assert set(runs[node.name].input_run_ids) == fed_by
    exported = {node.name: dict(node.feeds) for node in project.workflow().steps}
    assert exported == {node.name: node.feeds for node in workflow.steps}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session") / "raw"
    simulate_session(
        SimulationParams(
            seed=5,
            tilt_step_deg=6,
            image_shape_yx=(448, 448),
            pixel_size_angstrom=5.0,
            n_frames=3,
            n_beads=10,
        ),
        folder,
    )
    return folder


# What the tutorials' pixels of about 1 A allow, and these of 5 A do not.
COARSE = {
    "align_frames": {"binning": 1, "finest_angstrom": 15},
    "estimate_ctf": {"high_resolution_angstrom": 11, "max_defocus_angstrom": 80000},
    "bin_to_align": {"binning": 2},
    "bin_to_reconstruct": {"binning": 2},
    "denoise": {"epochs": 1, "steps_per_epoch": 2, "n_boxes": 8, "box_px": 16},
    "reconstruct": {"iterations": 3, "voxel_size_angstrom": 20, "multiscale": False},
}


def coarse(workflow):
    changes = {}
    for node in workflow.steps:
        values = COARSE.get(node.name, COARSE.get(node.step, {}))
        known = all_steps()[node.step].params.model_fields
        changes[node.name] = {name: value for name, value in values.items() if name in known}
    return changes


# What a workflow that averages says where nobody gave points or a template.
WITHOUT_PICKS = {
    "apoferritin": "particles",
    "average": "there are no particles to average",
    "average_by_template": "has no template",
    "average_by_template_series": "has no template",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FROM_MOVIES)
def test_it_makes_tomograms_of_movies(raw, tmp_path, name):
    workflow = load_workflow(name)
    project = Project.create(tmp_path / "project")
    summary = project.process(raw, workflow=name, parameters=coarse(workflow))
    if name in WITHOUT_PICKS:
        assert len(summary.failed) == 1
        assert WITHOUT_PICKS[name] in summary.failed[0].error["message"]
        made = project.database.items(project.find_run("reconstruct").id)
        finals = [project.value(item) for item in made if item.state == "done"]
    else:
        assert [(item.name, item.error) for item in summary.failed] == []
        assert summary.n_done == len(workflow.steps)
        finals = [project.value(item) for item in final_items(project.database)]
    assert [type(value) for value in finals] == [Tomogram]
    middle = finals[0].volume[finals[0].volume.shape[0] // 2]
    assert np.isfinite(middle).all()
    assert middle.std() > 0
