"""Text for a paper: sentences with figures, what was changed, references with numbers, versions."""

from __future__ import annotations

import re
import string
from typing import get_args

import pytest

from cryoloom.contract import all_steps, find_step
from cryoloom.contract.citations import CitedFor
from cryoloom.engine.history.methods import methods_text
from cryoloom.engine.project import Project
from cryoloom.simulate.session import SimulationParams, simulate_session
from makers.fakes import fake_steps
from makers.graphs import run, two_branches

__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path, fake_steps):
    return Project.create(tmp_path / "project")


def chain(**draw):
    return {"step": "find_series"}, {"step": "draw", "parameters": draw}, {"step": "smooth"}


def test_the_first_sentence_says_what_was_processed(project):
    run(project, *chain())
    first = methods_text(project.database).split(". ")[0]
    assert re.fullmatch(
        r"3 tilt series \(5 tilts, 0 to 12°, 15 e/Å² in all, 2\.5 Å per pixel, 300 kV\) were processed with "
        r"cryoloom \S+",
        first,
    ), first


def test_steps_tell_figures_and_cite(project):
    run(project, *chain(brightness=4.0))
    text = methods_text(project.database)
    assert "Images were drawn with a brightness of 4; the median mean was 4 [1]." in text
    assert "Smooth images." in text  # a step without a sentence: its summary
    assert "Parameters other than the defaults were: draw: brightness = 4." in text
    assert text.endswith("\n\n[1] A. Author, A journal 1 (2001)")
    assert re.search(r"cryoloom \S+ ran on Python 3\S+ with numpy \S+, torch \S+, on cpu\.", text)


def test_what_is_at_its_default_is_not_written(project):
    run(project, *chain())
    text = methods_text(project.database)
    assert "Images were drawn; the median mean was 1 [1]." in text
    assert "other than the defaults" not in text


def test_items_that_were_not_processed_are_counted(project):
    run(project, *chain(fails_on=["TS_02"]))
    assert "; 2 went through to the end, 1 could not be processed." in methods_text(project.database)
    project.run("choose", input="draw", at_least=100.0)
    run_id = project.find_run("choose")
    assert "; 0 went through to the end, 1 could not be processed, 2 were left out." in methods_text(
        project.database, run_id
    )


def test_of_one_run_it_tells_what_led_there(project):
    run(project, *two_branches(parameters={"width": 3}))
    project.run("draw", input="find_series", brightness=9.0)
    text = methods_text(project.database, project.find_run("merge"))
    assert text.index("Images were drawn") < text.index("Smooth") < text.index("Take the weighted images")
    assert "brightness of 9" not in text
    assert "smooth: width = 3" in text


def test_where_nothing_was_run_nothing_is_written(project):
    assert methods_text(project.database) == "Nothing was run yet."


@pytest.mark.parametrize("step", all_steps().values(), ids=lambda step: step.name)
def test_a_sentence_is_one_and_its_names_can_be_formatted(step):
    if not step.methods:
        assert step.summary
        return
    assert step.methods.strip("]").endswith(".")
    assert step.methods.count("[") == step.methods.count("]")
    for _, name, form, _ in string.Formatter().parse(step.methods):
        if name is not None and name in step.params.model_fields:
            assert form in ("", "g") or form[-1] in "fg", (step.name, name)


@pytest.mark.parametrize("step", all_steps().values(), ids=lambda step: step.name)
def test_a_reference_for_a_choice_names_values_that_can_be_chosen(step):
    for cited in step.citations:
        if isinstance(cited, CitedFor):
            for value in cited.values:
                assert value in get_args(step.params.model_fields[cited.parameter].annotation)


def test_only_what_was_chosen_is_cited():
    step = find_step("reconstruct")
    chosen = step.references({"method": "sirt", "ctf_correction": "none", "tilt_weighting": "increments"})
    assert [reference.split(",")[0] for reference in chosen] == ["Gilbert"]
    assert len(step.references()) == 4


@pytest.mark.slow
def test_a_project_of_real_steps_reads_well(tmp_path):
    simulate_session(
        SimulationParams(
            seed=5,
            tilt_step_deg=6,
            image_shape_yx=(192, 256),
            pixel_size_angstrom=10.0,
            n_frames=3,
            n_beads=10,
        ),
        tmp_path / "raw",
    )
    project = Project.create(tmp_path / "project")
    project.process(tmp_path / "raw", parameters={"reconstruct": {"thickness_angstrom": 2000.0}})
    text = methods_text(project.database)
    assert text.startswith("1 tilt series (21 tilts, -60 to 60°, ")
    assert re.search(r"in the median tilt the specimen moved by \d+\.\d Å \[\d, \d\]\.", text)
    assert re.search(r"The orientation of the gain reference was found .* \(variation .* [\d.]+ after", text)
    assert re.search(r"the mean residual was [\d.]+ Å \[[\d, ]+\]\.", text)
    assert re.search(r"weighted back-projection, with voxels of \d+\.\d\d Å", text)
    assert "Parameters other than the defaults were: reconstruct: thickness_angstrom = 2000." in text
    assert "Li et al., Nat. Methods 10, 584 (2013), doi:10.1038/nmeth.2472" in text
    assert not re.search(r"[{}]|None|nan", text)
    numbers = {int(n) for group in re.findall(r" \[([\d, ]+)\]\.", text) for n in group.split(",")}
    listed = [int(n) for n in re.findall(r"^\[(\d+)\]", text, flags=re.MULTILINE)]
    assert sorted(numbers) == listed
