"""A session watched by a listener that remembers, with short times."""

from __future__ import annotations

import time

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.live.watch import WatchOptions, watch

QUICK = {"settle_seconds": 0.3, "look_seconds": 0.1}
MINUTE = 60.0


class Diary(NullListener):
    """Remembers what was done, and lets a test wait for what the folder shows."""

    def __init__(self):
        self.worked_on, self.ahead, self.states, self.troubles = [], [], {}, []
        self.notes, self.done = set(), set()

    def started(self, task):
        (self.ahead if task.grows else self.worked_on).append((task.node, task.item))

    def finished(self, node, item):
        self.done.add((node, item.name, item.state))

    def watching(self, series, trouble):
        self.states = {one.name: one for one in series}
        self.notes |= {one.note for one in series}
        if trouble:
            self.troubles.append(trouble)

    def wait_for(self, name, state, seconds=60.0):
        """Until a series is in a state, or done with by a step."""
        deadline = time.monotonic() + seconds
        while (name, state) not in {(s.name, s.state) for s in self.states.values()} | {
            (item, node) for node, item, _ in self.done
        }:
            assert time.monotonic() < deadline, self.states
            time.sleep(0.02)


def watching(session, live, project, diary=None, parameters=None, **options):
    return watch(
        project,
        live,
        diary or Diary(),
        WatchOptions(**{**QUICK, **options}),
        workflow=str(session / "short.yaml"),
        parameters=parameters,
        gain=session / "raw" / "gain.mrc",
        device="cpu",
    )
