"""The process that knows the steps: it answers, says what is wrong, and is started again if it was killed."""

import time

import pytest

from cryoloom.errors import UserInputError
from cryoloom.web.step_catalogue import StepCatalogue


@pytest.fixture(scope="module")
def catalogue():
    made = StepCatalogue()
    yield made
    made.close()


def test_it_knows_steps_and_workflows(catalogue: StepCatalogue) -> None:
    step = catalogue.step("reconstruct")
    assert (step["needs"], step["gives"]) == ("TiltSeries", "Tomogram")
    assert step["schema"]["properties"]["method"]
    assert "tomogram" in [one["name"] for one in catalogue.catalogue()["workflows"]]


def test_what_it_refuses_is_a_sentence(catalogue: StepCatalogue) -> None:
    with pytest.raises(UserInputError, match="there is no step 'reconstuct'"):
        catalogue.step("reconstuct")
    with pytest.raises(UserInputError, match="unknown request 'delete'"):
        catalogue.ask({"do": "delete"})


def test_it_is_started_again_after_it_was_killed(catalogue: StepCatalogue) -> None:
    question = {"do": "check", "step": "reconstruct", "parameters": {}}
    assert catalogue.ask(question)["errors"] == {}
    catalogue._process.kill()
    time.sleep(0.1)
    assert catalogue.ask(question)["errors"] == {}
