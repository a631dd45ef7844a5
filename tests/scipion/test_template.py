"""Scipion's workflows as files: placeholders, links, order, and what is none."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.scipion.template import read_scipion_workflow
from makers.scipion_workflow import template, write

__all__ = ["template"]


@pytest.mark.parametrize(
    "text", ["", "words", "[1, 2]", '[{"object.id": "1"}]', "[{]", '{"object.className": "x"}']
)
def test_what_is_no_workflow_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserInputError, match="is not a Scipion workflow"):
        read_scipion_workflow(path)


def test_a_circle_is_refused(tmp_path):
    path = write(tmp_path, (1, "A", {"x": "2.out"}), (2, "B", {"y": "1.out"}))
    with pytest.raises(UserInputError, match="form a cycle"):
        read_scipion_workflow(path)


def test_placeholders_take_their_defaults(template):
    workflow = read_scipion_workflow(template("nonOrientedPicking_ribosome"))
    source = next(p for p in workflow.protocols if p.class_name == "ProtImportTs")
    assert source.values["filesPath"] == "%(SCIPION_TESTS)s/nonOrientedPicking_tutorial/"
    assert workflow.description.startswith("tutorial - non-oriented picking ribosome")


def test_links_and_values_are_distinguished_and_protocols_put_in_order(tmp_path):
    path = write(
        tmp_path,
        (
            7,
            "Reconstruct",
            {"inTs": "3.TiltSeries", "binning": "4", "note": "9.nothing", "both": ["3.A", "5.B_1"]},
        ),
        (5, "Ctf", {"inTs": "3.TiltSeries.TS_01"}),
        (3, "Import", {"object.comment": "first", "path": "/data/3.raw"}),
    )
    workflow = read_scipion_workflow(path)
    assert [protocol.id for protocol in workflow.protocols] == ["3", "5", "7"]
    last = workflow.protocols[-1]
    assert last.title == "7 Reconstruct"
    assert [(link.parameter, link.source, link.output) for link in last.links] == [
        ("inTs", "3", "TiltSeries"), ("both", "3", "A"), ("both", "5", "B_1"),
    ]  # fmt: skip
    assert last.values["note"] == "9.nothing"  # there is no protocol 9
    assert last.source("inTs").source == "3"
    assert last.source("binning") is None
    assert workflow.protocols[1].source("inTs").output == "TiltSeries"
    assert workflow.protocols[0].comment == "first"
    assert workflow.description == "words"
