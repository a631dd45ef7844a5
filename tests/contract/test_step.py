"""Declarations of steps: what they say of themselves, and contradictions that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import Field, ValidationError

from cryoloom.contract import Figure, Outputs, Record, StepParams, step
from cryoloom.contract.citations import CitedFor
from cryoloom.contract.step import Gathered, Shared, kind_of
from cryoloom.errors import UserInputError
from cryoloom.model import Average, Microscope, Tilt, TiltSeries, Tomogram

SERIES = TiltSeries("TS_01", Microscope(), 1.35, (Tilt(0, 0.0, 0.0, 3.0),))


class Params(StepParams):
    """Of a step for these tests."""

    width: int = Field(3, gt=0, description="Width in pixels.")
    method: str = Field("mean", description="Method.")


def declared(**more):
    """A step's declaration with other facts than the usual ones."""
    facts = {"per": "tilt_series", "needs": TiltSeries, "gives": TiltSeries, "bytes_needed": lambda *_: 1}

    @step("smooth", **(facts | more))
    def smooth(item: object, params: Params, context: object, **others: object) -> object:
        """Smooth images.

        By a mean.
        """
        return item, params.width, others

    return smooth.declaration


def test_a_step_is_described_by_its_docstrings():
    made = declared(citations=("Ada 1843", CitedFor("Grace 1952", "method", ("median",))))
    assert made.summary == "Smooth images."
    assert made.description.startswith("Declarations of steps")
    assert made.references() == ("Ada 1843", "Grace 1952")
    assert made.references({"method": "mean"}) == ("Ada 1843",)
    assert made.references({"method": "median"}) == ("Ada 1843", "Grace 1952")
    assert not made.hands_on
    assert declared(gives=object).hands_on


def test_parameters_are_checked_and_never_change():
    made = declared()
    assert made.params is Params
    with pytest.raises(ValidationError, match="greater than 0"):
        Params(width=0)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Params(breadth=3)
    with pytest.raises(ValidationError, match="frozen"):
        Params().width = 5


def test_it_runs_as_a_function_of_item_parameters_and_context():
    assert declared().run(SERIES, Params(width=5), None) == (SERIES, 5, {})


def test_another_type_than_declared_is_refused_with_its_role():
    tomogram = Tomogram(SERIES, np.zeros((2, 2, 2), np.float32), 10.0)
    with pytest.raises(UserInputError, match="smooth needs a TiltSeries as its input, got a Tomogram"):
        declared().run(tomogram, Params(), None)
    with pytest.raises(UserInputError, match="needs a TiltSeries as its input, got a NoneType"):
        declared().run(None, Params(), None)
    with_ctf = declared(also_needs={"ctf_from": TiltSeries})
    with pytest.raises(UserInputError, match="needs a TiltSeries as ctf_from, got a NoneType"):
        with_ctf.run(SERIES, Params(), None)
    assert with_ctf.run(SERIES, Params(), None, ctf_from=SERIES)[2] == {"ctf_from": SERIES}


def test_a_gathering_step_gets_a_tuple_and_names_its_result():
    made = declared(gathers=True, per="particle_set", named_by="method")
    assert made.run((SERIES, SERIES), Params(), None)[0] == (SERIES, SERIES)
    assert made.result_name(Params(method="median")) == "median"
    assert declared().result_name(Params()) == "all"
    with pytest.raises(UserInputError, match="got a str"):
        made.run((SERIES, "TS_02"), Params(), None)


def test_further_inputs_may_be_shared_or_gathered():
    assert [kind_of(one) for one in (Average, Shared(Average), Gathered(TiltSeries))] == [
        Average,
        Average,
        TiltSeries,
    ]


def test_nothing_is_done_ahead_unless_declared():
    assert declared().run_ahead(SERIES, Params(), None) is None
    assert declared(ahead=lambda item, *_: item).run_ahead(SERIES, Params(), None) is SERIES


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"per": "tomogram"}, "a step that works on one TiltSeries is per tilt_series"),
        ({"needs": None}, 'a source works per "project"'),
        ({"needs": None, "per": "project", "gathers": True}, "a source does not gather"),
        ({"gathers": True}, "a step per tilt_series does not gather"),
        (
            {"gathers": True, "per": "particle_set", "ahead": lambda *_: None},
            "a gathering step cannot process items ahead",
        ),
        ({"gathers": True, "per": "particle_set", "reads_figures": True}, "cannot be distinguished"),
        ({"named_by": "method"}, "only a gathering step names its result"),
        ({"gathers": True, "per": "particle_set", "named_by": "title"}, "there is no parameter 'title'"),
        ({"also_needs": {"ctf": TiltSeries}}, "ends in _from"),
        ({"also_gives": {"a map": Average}}, "a plain name"),
        ({"calls": lambda *_: ()}, "declares their calls"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        declared(**facts)


def test_figures_and_records_belong_to_the_declaration():
    figure = Figure("mean", "", "Mean", "Mean of the images.")
    record = Record("curve", "A curve.", shows="curve")
    made = declared(figures=[figure], records=[record])
    assert (made.figures, made.records) == ((figure,), (record,))


def test_outputs_have_a_main_one_and_others_by_role():
    outputs = Outputs(SERIES, {"map": "average"})
    assert (outputs.main, outputs.others["map"]) == (SERIES, "average")


def test_outputs_are_named_with_their_types():
    assert declared().given_kinds == {"": "TiltSeries"}
    several = declared(also_gives={"average": Average})
    assert several.given_kinds == {"": "TiltSeries", "average": "Average"}
