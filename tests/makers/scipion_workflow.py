"""Scipion's workflow files: the tutorials', and made ones."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def template(data):
    return lambda name: data / "scipion" / f"tutorial_{name}.json.template"


def write(folder, *protocols, head="words\n"):
    entries = [
        {"object.className": kind, "object.id": str(i), "object.label": kind, "numberOfThreads": 4, **values}
        for i, kind, values in protocols
    ]
    path = folder / "workflow.json"
    path.write_text(head + json.dumps(entries))
    return path
