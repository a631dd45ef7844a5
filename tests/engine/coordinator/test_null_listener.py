"""The listener that ignores everything takes every event that the scheduler sends."""

from __future__ import annotations

import inspect

import pytest

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.coordinator.scheduler import Listener

EVENTS = [name for name in vars(Listener) if not name.startswith("_")]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_taken_with_the_protocols_arguments_and_ignored(event):
    asked, ours = (inspect.signature(getattr(one, event)) for one in (Listener, NullListener))
    assert list(ours.parameters) == list(asked.parameters)
    nothing = [None] * (len(asked.parameters) - 1)
    listener = NullListener()
    getattr(listener, event)(*nothing)
    assert vars(listener) == {}


def test_it_knows_no_event_that_nobody_sends():
    assert sorted(name for name in vars(NullListener) if not name.startswith("_")) == sorted(EVENTS)
