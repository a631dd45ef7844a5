"""Facts of steps as read from their source are those of the imported declarations, of every step."""

import subprocess
import sys

import pytest

from cryoloom.contract import all_steps
from cryoloom.contract.step_facts import StepFacts, step_facts
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps

__all__ = ["fake_steps"]


@pytest.mark.parametrize("name", sorted(all_steps()))
def test_facts_are_those_of_the_declaration(name):
    assert step_facts(name) == StepFacts.of(all_steps()[name])


def test_every_step_can_be_read_without_importing_one():
    code = (
        "import sys\n"
        "from cryoloom.contract.discovery import step_sources\n"
        "from cryoloom.contract.step_facts import step_facts\n"
        "for name in step_sources():\n    step_facts(name)\n"
        "heavy = ('torch', 'numpy')\n"
        "print([name for name in sys.modules if name in heavy or name.startswith('cryoloom.steps.')])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


def test_references_depend_on_parameters():
    step = all_steps()["reconstruct"]
    for method in step.params.model_fields["method"].annotation.__args__:
        chosen = {"method": method}
        assert step_facts("reconstruct").references(chosen) == step.references(chosen)


def test_a_step_without_a_source_is_asked_itself(fake_steps):
    facts = step_facts("draw")
    assert facts.gives == "TiltSeries"
    assert facts.defaults["brightness"] == 1.0
    with pytest.raises(UserInputError, match="there is no step 'drow'"):
        step_facts("drow")
