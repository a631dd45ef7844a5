"""Blocks of STAR files as rows, and back."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import read_blocks, write_blocks


def test_loops_and_single_values_come_back(tmp_path):
    rows = [{"rlnTomoName": "TS_01", "rlnAngle": 1.5}, {"rlnTomoName": "TS_02", "rlnAngle": -2.25}]
    path = write_blocks(tmp_path / "deep" / "a.star", {"global": rows, "general": {"rlnVoltage": 300.0}})
    blocks = read_blocks(path)
    assert blocks["global"] == rows
    assert [float(row["rlnVoltage"]) for row in blocks["general"]] == [300.0]
    assert [entry.name for entry in path.parent.iterdir()] == ["a.star"]


def test_what_is_no_star_file_is_refused(tmp_path):
    (tmp_path / "a.star").write_text("no table at all\n")
    with pytest.raises(DataUnfitError, match=r"contains no table|cannot be read"):
        read_blocks(tmp_path / "a.star")
    with pytest.raises(DataUnfitError, match="cannot be read as a STAR file"):
        read_blocks(tmp_path / "none.star")
