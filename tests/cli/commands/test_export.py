"""Export: what was written, what is missing, and a format that there is not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError


@pytest.fixture
def exported(monkeypatch):
    """What the project is asked for, and an answer."""
    asked = {}

    def answer(**parts):
        made = {"notes": ("no hand is written",), "series": ("TS_01",), "files": ("a", "b"), "missing": ()}

        def export(self, format, to, **how):
            asked.update(format=format, to=to.name, **how)
            return SimpleNamespace(**{**made, **parts})

        monkeypatch.setattr(Project, "export", export)
        return asked

    return answer


def test_series_and_files_are_counted_and_notes_printed(cryoloom, exported):
    asked = exported()
    text = cryoloom("export", "--format", "imod", "--to", "out", "--series", "TS_01", "--copy")
    assert "no hand is written" in text
    assert "1 series, 2 files in out, checked" in text
    assert asked == {"format": "imod", "to": "out", "series": ["TS_01"], "outdated": False, "link": False}


def test_what_is_missing_is_named_with_exit_code_1(cryoloom, exported):
    exported(missing=("TS_02", "TS_03"))
    text = cryoloom("export", "--format", "imod", "--to", "out", code=1)
    assert "2 missing or incomplete: TS_02, TS_03" in text
    assert "cryoloom resume --project p" in text


def test_an_unknown_format(cryoloom):
    with pytest.raises(UserInputError, match="relion5"):
        cryoloom("export", "--format", "relion6", "--to", "out")
