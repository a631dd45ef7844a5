from __future__ import annotations

from pathlib import Path

from cryoloom.cli.program_reference import programs_as_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "programs.md"


def test_the_page_of_programs_is_up_to_date():
    assert PAGE.read_text() == programs_as_markdown() + "\n", (
        "run `cryoloom steps --programs --markdown > docs/reference/programs.md`"
    )
