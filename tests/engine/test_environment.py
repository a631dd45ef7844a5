"""What is recorded of program, libraries and machine."""

from __future__ import annotations

import json
import os

import numpy

from cryoloom.engine.environment import describe_environment
from cryoloom.version import __version__


def test_versions_and_machine_are_plain_data():
    told = describe_environment()
    assert json.loads(json.dumps(told)) == told
    assert told["cryoloom"] == __version__
    assert told["libraries"]["numpy"] == numpy.__version__
    assert told["cores"] == len(os.sched_getaffinity(0))
    assert told["memory_gib"] > 0
    assert describe_environment() is told  # asked for every run, measured once
