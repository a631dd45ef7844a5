"""What is looked at again after a change is the same as all looked at anew."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cryoloom.store.current import current_state
from cryoloom.store.current_log import CurrentLog
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author, Change, Decisions
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import FileRecord, ItemRecord

ME = Author("me")
STARTED = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
STEPS = (("find", None), ("align", "find"), ("cut", "align"), ("gather", "cut"), ("draw", "gather.series"))


class Made:
    """A project of five steps: a source, two that follow, one that gathers and gives parts, one of a part."""

    def __init__(self, folder):
        self.folder = folder
        self.database = Database.create(folder)
        self.decisions = Decisions(folder)
        self.runs = {}
        self.clock = 0
        asked = [{"name": n, "step": n, **({} if i is None else {"input": i})} for n, i in STEPS]
        self.plan = self.database.add_plan({"name": "w", "steps": asked}, "cryoloom process")
        for name, _ in STEPS:
            self.begin(name)

    def begin(self, node, **parameters):
        source = dict(STEPS)[node]
        fed = None if source is None else self.runs[source.partition(".")[0]]
        run = self.database.begin_run(node, node, 1, parameters, fed, {})
        self.database.note_run_of_plan(self.plan, node, run.id)
        self.runs[node] = run.id

    def record(self, node, name, key, inputs=None, decisions=None, state="done", parts=(), **more):
        self.clock += 1
        made_from = None if inputs is None else {"inputs": {"input": inputs}, "decisions": decisions}
        started = STARTED + timedelta(seconds=self.clock)
        common = {"started": started, "made_from": made_from, "value": {"$type": "X"}, **more}
        item = ItemRecord(self.runs[node], name, key, state, **common)
        given = [
            ItemRecord(
                self.runs[node], part, f"{key}/{part}", "done", output="series", value={}, started=started
            )
            for part in parts
        ]
        return self.database.record_work(item, given)


@pytest.fixture
def made(tmp_path):
    project = Made(tmp_path)
    yield project
    project.database.close()


def agree(log, folder):
    """Compare with a reading from nothing; returns what the log looked at."""
    reading = log.read()
    with ProjectReader(folder) as reader:
        whole = current_state(reader)
    assert dict(reading.series) == dict(whole.series)
    assert list(reading.series) == list(whole.series)
    assert reading.runs == whole.runs
    assert reading.nodes == whole.nodes
    return reading.changed


def test_only_what_a_decision_concerns_is_looked_at(made):
    for name in ("TS_1", "TS_2", "TS_3"):
        made.record("find", name, f"f{name}")
        made.record("align", name, f"a{name}", {name: f"f{name}"}, {})
    with ProjectReader(made.folder) as reader:
        log = CurrentLog(reader)
        assert agree(log, made.folder) is None
        assert agree(log, made.folder) == set()
        made.decisions.decide([Change("tilt", "TS_2", "3", {"keep": False})], ME)
        assert agree(log, made.folder) == {"TS_2"}
        assert log.read().series["TS_2"].state == "outdated"
        made.decisions.undo(ME)
        assert agree(log, made.folder) == {"TS_2"}
        assert log.read().series["TS_2"].deciding.node == "cut"  # not made yet


def test_much_at_once_is_left_to_who_can_wait(made):
    with ProjectReader(made.folder) as reader:
        log = CurrentLog(reader)
        assert log.read(most_changes=2) is None  # nothing was read yet
        log.read()
        for i in range(3):
            made.record("find", f"TS_{i}", f"f{i}")
        assert log.read(most_changes=2) is None
        assert set(log.read(most_changes=3).series) == {"TS_0", "TS_1", "TS_2"}


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_changes(made, seed):
    rng = random.Random(seed)
    names = ["TS_1", "TS_2", "TS_3", "TS_4"]

    def change():
        name, version = rng.choice(names), rng.choice("xy")
        done = rng.choice(["done", "done", "done", "failed", "left_out"])
        error = {"kind": "DataUnfitError", "message": "bad"} if done == "failed" else None
        files = (FileRecord("images", Path(f"{name}.mrc"), 10),) if rng.random() < 0.5 else ()
        applied = rng.choice([None, {}, {name: [[3, False, ""]]}])
        chosen = rng.randrange(11)
        if chosen == 0:
            made.record("find", name, f"f{name}{version}", files=files)
        elif chosen in (1, 2):
            source = f"f{name}{rng.choice('xy')}"
            made.record("align", name, f"a{name}{version}", {name: source}, applied, done, error=error)
        elif chosen == 3:
            made.record("cut", name, f"c{name}{version}", {name: f"a{name}{rng.choice('xy')}"}, applied)
        elif chosen == 4:
            taken = rng.sample(names, rng.randint(1, 4))
            inputs = {one: f"c{one}{rng.choice('xy')}" for one in taken}
            made.record("gather", "all", f"g{version}", inputs, parts=taken, gathered=(1, 2))
        elif chosen == 5:
            made.record("draw", name, f"d{name}{version}", {name: f"g{rng.choice('xy')}/{name}"}, applied)
        elif chosen == 6:
            made.decisions.decide([Change("tilt", name, "3", {"keep": rng.random() < 0.5})], ME)
        elif chosen == 7:
            made.decisions.decide([Change("series", name, "", {"keep": rng.random() < 0.5})], ME)
        elif chosen == 8:
            made.decisions.decide([Change("parameter", name, "align.side", rng.choice([1, 2, None]))], ME)
        elif chosen == 9 and any(
            event.undoes is None and not event.is_undone for event in made.decisions.all()
        ):
            made.decisions.undo(ME)
        elif rng.random() < 0.3:
            made.begin("align", side=rng.choice([1, 2]))

    with ProjectReader(made.folder) as reader:
        log = CurrentLog(reader)
        n_partial = 0
        for _ in range(60):
            change()
            n_partial += agree(log, made.folder) is not None
    assert n_partial > 20


def test_a_deleted_run_is_gone(made):
    made.record("find", "TS_1", "f")
    with ProjectReader(made.folder) as reader:
        log = CurrentLog(reader)
        log.read()
        made.record("align", "TS_1", "a", {"TS_1": "f"}, {})
        assert agree(log, made.folder) == {"TS_1"}
        made.database.delete_runs([made.runs[node] for node in ("align", "cut", "gather", "draw")])
        agree(log, made.folder)
        assert len(log.read().series["TS_1"].made) == 1
