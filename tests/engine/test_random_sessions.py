"""The default workflow on a sample of the sessions drawn at random (all: `benchmarks/random_sessions.py`)."""

import pytest

from makers.random_session import drawn_session, process_session


@pytest.mark.parametrize("i", [5, 35, 56])
def test_a_session_does_not_fail_for_an_internal_reason_and_is_not_wrong_without_a_warning(i, tmp_path):
    """Five or six tilts of 1000 A at most, TIFF, MRC and EER; number 5 reaches 9 degrees only."""
    line = process_session(drawn_session(i), tmp_path)
    assert line["verdict"] not in ("internal", "silent"), line
    assert (line["verdict"] == "unfit") or "method" in line


@pytest.mark.slow
@pytest.mark.parametrize("i", [8, 20, 313])
def test_a_session_with_beads_comes_out_right(i, tmp_path):
    """Of number 313 the field is full of gold, 120 nm below what the stage keeps in place."""
    line = process_session(drawn_session(i), tmp_path)
    assert line["verdict"] == "right", line
