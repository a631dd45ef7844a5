"""Which workflow suits what a user points at: movies or stacks, by what the files are, not only by names."""

from __future__ import annotations

import pytest

from cryoloom.engine.graph.raw_data import plan_for_raw_data
from cryoloom.errors import UserInputError

STACK_MDOC = "ImageFile = TS_01.mrc\n[T = SerialEM]\n[ZValue = 0]\nTiltAngle = 3\n"
MOVIE_MDOC = STACK_MDOC + "SubFramePath = X:\\TS_01_000_3.0.tif\n"


@pytest.mark.parametrize(
    ("files", "mdoc", "workflow"),
    [
        (["TS_01.mrc", "TS_01.mrc.mdoc"], STACK_MDOC, "tomogram_from_stack"),
        (["TS_01.mrc", "TS_01.mdoc"], STACK_MDOC, "tomogram_from_stack"),
        (["TS_01.mrc", "TS_01.mrc.mdoc"], MOVIE_MDOC, "tomogram_from_stack"),  # its movies are not there
        (["TS_01.mrc", "TS_01.mrc.mdoc", "frames/TS_01_000_3.0.tif"], MOVIE_MDOC, "tomogram"),
        (["TS_01.mrc.mdoc", "frames/TS_01_000_3.0.tif"], MOVIE_MDOC, "tomogram"),
        (["TS_01.mrc.mdoc"], MOVIE_MDOC, "tomogram"),  # and the import says what is missing
        (["TS_01.mrc", "TS_01.rawtlt"], None, "tomogram_from_stack"),
        (["TS_01_000_3.0.tif"], None, "tomogram"),
        (["mdoc/TS_01.mdoc", "frames/TS_01_000_3.0.eer"], MOVIE_MDOC, "tomogram"),
    ],
)
def test_folders(tmp_path, files, mdoc, workflow):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(mdoc if name.endswith(".mdoc") else "")
    plan = plan_for_raw_data(tmp_path, None, {})
    assert plan.name == workflow
    place = "stack" if workflow == "tomogram_from_stack" else "directory"
    assert plan.steps[0].parameters[place] == str(tmp_path)


def test_one_mdoc(tmp_path):
    path = tmp_path / "TS_01.mrc.mdoc"
    path.write_text(MOVIE_MDOC)
    parameters = plan_for_raw_data(path, None, {}).steps[0].parameters
    assert (parameters["directory"], parameters["mdoc"]) == (str(tmp_path), "TS_01.mrc.mdoc")


def test_what_is_neither_says_what_to_give(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("")
    with pytest.raises(UserInputError, match="neither a folder nor a stack"):
        plan_for_raw_data(path, None, {})


def test_files_of_the_workflow_inside_its_raw_data_are_those_of_the_new_folder(tmp_path):
    """A workflow imported from Scipion has a placeholder in its paths."""
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    for folder in (raw, elsewhere):
        folder.mkdir()
    (elsewhere / "defects.txt").write_text("")
    workflow = tmp_path / "w.yaml"
    workflow.write_text(
        f"""name: moved
steps:
- step: import_movies
  parameters: {{directory: "%(TESTS)s/session/", gain: "%(TESTS)s/session/refs/ref.mrc",
    defects: "{elsewhere}/defects.txt", dark: "%(TESTS)s/dark.mrc", mdoc: "*.mdoc"}}
"""
    )
    source = plan_for_raw_data(raw, str(workflow), {}).steps[0].parameters
    assert source["directory"] == str(raw)
    assert source["gain"] == str(raw / "refs/ref.mrc")
    assert source["defects"] == f"{elsewhere}/defects.txt"
    assert source["dark"] == "%(TESTS)s/dark.mrc"  # not in that folder
    assert source["mdoc"] == "*.mdoc"
