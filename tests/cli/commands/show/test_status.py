"""Where a project stands."""

from __future__ import annotations

import json


def test_status_for_scripts(cryoloom):
    cryoloom("exclude", "TS_02", "1")
    facts = [json.loads(line) for line in cryoloom("status", "--json").splitlines()]
    assert [(one["item"], one["state"], one["step"]) for one in facts] == [
        ("TS_01", "current", "smooth"),
        ("TS_02", "outdated", "draw"),
        ("TS_03", "current", "smooth"),
    ]


def test_what_was_imported_is_summed_up(cryoloom):
    status = cryoloom("status")
    assert "TS_01, TS_02, TS_03: 5 tilts, 0 to 12 deg, 2.5 A, axis not known, 15 e/A^2 in all" in status
