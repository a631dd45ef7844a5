"""Every quantity with the source that decided it."""

from __future__ import annotations

from cryoloom.contract.figures import Record
from cryoloom.views.evidence_table import draw_evidence

RECORD = Record("sources", "Sources", "What every source says.")


def test_a_row_has_the_value_its_source_and_what_the_others_say():
    evidence = {
        "quantity": "pixel size, angstrom",
        "value": 1.35,
        "used": "mdoc PixelSpacing",
        "sources": [
            {"name": "mdoc PixelSpacing", "says": 1.35},
            {"name": "movie header", "says": 1.0, "why_not": "what programs write that do not know it"},
        ],
        "note": "",
    }
    unknown = {"quantity": "tilt axis, deg", "value": None, "used": "", "sources": [], "note": "not given"}
    (table,) = draw_evidence(None, RECORD, {"evidence": [evidence, unknown]})
    assert table.headings == ("quantity", "value", "decided by", "values by source", "note")
    assert table.rows[0][:3] == ("pixel size, angstrom", "1.35", "mdoc PixelSpacing")
    assert table.rows[0][3] == (
        "mdoc PixelSpacing: 1.35; movie header: 1 (not counted: what programs write that do not know it)"
    )
    assert table.rows[1] == ("tilt axis, deg", "not known", "", "", "not given")


def test_a_record_of_an_older_project_is_shown_as_it_is():
    (table,) = draw_evidence(None, RECORD, {"pixel_size_angstrom": 1.35})
    assert "1.35" in str(table.rows)
