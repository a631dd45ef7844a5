from __future__ import annotations

from pathlib import Path

from cryoloom.cli.reference import steps_as_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "steps.md"


def test_the_reference_page_is_up_to_date():
    assert PAGE.read_text() == steps_as_markdown() + "\n", (
        "run `cryoloom steps --markdown > docs/reference/steps.md`"
    )
