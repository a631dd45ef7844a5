"""Sources of a quantity: kept as plain data, read back, and explained in lines."""

from __future__ import annotations

import json

import pytest

from cryoloom.model.evidence import Evidence, Source, evidence_from_json, explain

AXIS = Evidence(
    "tilt axis, deg",
    84.3,
    "mdoc title",
    (
        Source("mdoc title", 84.3),
        Source("RotationAngle", 175.0, "constant in all mdocs"),
        Source("user", "-"),
    ),
    "RotationAngle contradicts the title",
)
UNKNOWN = Evidence("handedness", None, "")


def test_evidence_survives_a_record():
    stored = json.loads(json.dumps([AXIS.as_json(), UNKNOWN.as_json()]))
    assert evidence_from_json(stored) == (AXIS, UNKNOWN)


def test_another_record_is_distinguished_from_evidence():
    with pytest.raises(KeyError):
        evidence_from_json([{"quantity": "tilt axis"}])


def test_lines_name_what_was_used_what_was_not_and_why():
    assert explain([AXIS, UNKNOWN]) == [
        "tilt axis, deg: 84.3 (by mdoc title)",
        "  * mdoc title: 84.3",
        "  - RotationAngle: 175  [not counted: constant in all mdocs]",
        "  - user: -",
        "  ! RotationAngle contradicts the title",
        "handedness: not known",
    ]
