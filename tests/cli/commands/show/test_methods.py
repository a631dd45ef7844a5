"""Methods text of a project and of one run."""

from __future__ import annotations


def test_methods_of_all_and_of_one_run(cryoloom, brighter):
    assert "3 tilt series" in cryoloom("methods")
    assert "with a brightness of 5" in cryoloom("methods", "--run", "4")
    assert "with a brightness" not in cryoloom("methods", "--run", "3")
