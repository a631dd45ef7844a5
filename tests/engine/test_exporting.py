"""What is exported beside a result: refined particles stay with the average they made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cryoloom.engine.exporting import parts_behind
from cryoloom.model import Average
from cryoloom.store.records import ItemRecord


def record(id, run_id, name, **more):
    return ItemRecord(run_id, name, f"key{id}", "done", id=id, **more)


REFINED = record(1, 10, "all")
PARTS = [
    record(2, 10, "TS_1", part_of=1, output="particles"),
    record(3, 10, "TS_2", part_of=1, output="particles"),
]
JUDGED = record(4, 11, "all", input_item_id=1)
ITEMS = [REFINED, *PARTS, JUDGED]
DATABASE = SimpleNamespace(
    items=lambda run_id: [item for item in ITEMS if item.run_id == run_id],
    item_without_value=lambda item_id: next(item for item in ITEMS if item.id == item_id),
)
AVERAGE = Average("all", np.zeros((4, 4, 4), np.float32), 2.0)


def test_an_average_has_the_particles_it_was_made_with():
    assert parts_behind(DATABASE, REFINED, AVERAGE) == PARTS


def test_an_average_judged_later_has_them_too():
    assert parts_behind(DATABASE, JUDGED, AVERAGE) == PARTS


def test_other_results_have_only_their_own():
    assert parts_behind(DATABASE, JUDGED, object()) == []
