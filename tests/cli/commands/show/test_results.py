"""Files and figures of every item, and of every tilt."""

from __future__ import annotations

import json
from pathlib import Path


def test_every_item_has_its_figures_and_files(cryoloom):
    printed = cryoloom("results")
    assert "TS_01  run 2 draw" in printed
    assert "n_included = 5" in printed
    found = [json.loads(line) for line in cryoloom("results", "--json").splitlines()]
    drawn = next(one for one in found if (one["item"], one["step"]) == ("TS_02", "draw"))
    assert drawn["figures"]["n_included"] == 5
    assert all(Path(path).is_file() for path in drawn["files"].values())


def test_every_tilt_has_a_row(cryoloom):
    rows = cryoloom("results", "--csv").splitlines()
    assert len(rows) == 1 + 3 * 5
    assert rows[0].split(",")[0] == "series"
    assert {row.split(",")[0] for row in rows[1:]} == {"TS_01", "TS_02", "TS_03"}
    tilts = [json.loads(line) for line in cryoloom("results", "--tilts", "--json").splitlines()]
    assert len(tilts) == 15
