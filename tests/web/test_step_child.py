"""What the process that knows the steps answers, asked here without it."""

import json

import pytest

from cryoloom.web.step_child import answer


def test_a_value_out_of_range_is_named_at_its_field():
    wrong = answer({"do": "check", "step": "reconstruct", "parameters": {"iterations": 0, "colour": 1}})
    assert set(wrong["errors"]) == {"iterations", "colour"}
    assert "greater than or equal to 1" in wrong["errors"]["iterations"]
    right = answer({"do": "check", "step": "reconstruct", "parameters": {"iterations": 12}})
    assert right["errors"] == {}
    assert right["values"]["iterations"] == 12


def test_what_is_no_workflow_of_scipion_is_refused_with_a_sentence():
    assert "error" in answer({"do": "translate", "text": "no JSON"})
    assert answer({"do": "check", "step": "nothing", "parameters": {}})["error"].startswith(
        "there is no step"
    )


def test_a_folder_that_is_no_project_is_one_sentence(tmp_path):
    asked = {"do": "export_workflow", "project": str(tmp_path)}
    assert "is not a cryoloom project" in answer(asked)["error"]


@pytest.mark.parametrize("what", ["steps", "workflows"])
def test_answers_are_plain_data(what):
    catalogue = answer({"do": "catalogue"})
    assert json.loads(json.dumps(catalogue, default=str))[what]
    for workflow in catalogue["workflows"]:
        numbers = range(len(workflow["nodes"]))
        assert all(source in numbers and target in numbers for source, target in workflow["edges"])
        places = [(node["x"], node["y"]) for node in workflow["nodes"]]
        assert len(set(places)) == len(places), f"cards of {workflow['name']} lie on each other"
