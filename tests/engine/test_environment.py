"""What is recorded of program, libraries and machine."""

from __future__ import annotations

import json
import os

import numpy

from cryoloom.engine.environment import describe_environment
from cryoloom.version import __version__


def test_versions_and_machine_are_plain_data():
    described = describe_environment()
    assert json.loads(json.dumps(described)) == described
    assert described["cryoloom"] == __version__
    assert described["libraries"]["numpy"] == numpy.__version__
    assert described["cores"] == len(os.sched_getaffinity(0))
    assert described["memory_gib"] > 0
    assert describe_environment() is described  # asked for every run, measured once
