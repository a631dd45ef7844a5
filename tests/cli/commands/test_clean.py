"""Files that can be made again are removed."""

from __future__ import annotations

import json


def test_files_are_removed_and_what_is_printed_of_them(cryoloom, brighter):
    brighter.resume()
    stacks = list(brighter.folder.rglob("*.mrc"))
    assert "draw" in cryoloom("clean", "--keep", "results", "--dry-run")
    assert list(brighter.folder.rglob("*.mrc")) == stacks
    listed = [json.loads(line) for line in cryoloom("clean", "--keep", "results", "--json").splitlines()]
    assert {one["step"] for one in listed} == {"draw"}
    assert all(one["removed"] and one["bytes"] > 0 for one in listed)
    gone = {brighter.folder / path for one in listed for path in one["files"]}
    assert set(brighter.folder.rglob("*.mrc")) == set(stacks) - gone
    assert "nothing to remove" in cryoloom("clean", "--keep", "results")
    printed = cryoloom("status")
    assert "room for about" in printed
    assert "draw" not in printed.splitlines()[-1]


def test_a_report_is_written_of_series_whose_images_were_removed(cryoloom, brighter):
    brighter.resume()
    cryoloom("clean", "--keep", "results")
    cryoloom("report")
    assert "TS_01" in (brighter.folder / "report.html").read_text()
