"""Rows as values: what an item was made from, and figures that could not be measured."""

from __future__ import annotations

from datetime import UTC, datetime

from cryoloom.engine.history.results import (
    sentence,
)
from cryoloom.store.records import FANNED_OUT, ItemRecord, RunRecord, read_figures, stored_figures


def test_a_run_takes_items_from_all_its_inputs_and_has_a_folder():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunRecord(7, "correct", "correct_ctf", 2, {}, 3, "done", now, None, {}, links={"ctf_from": 5})
    assert (run.input_run_ids, run.folder) == ((3, 5), "runs/007_correct")
    source = RunRecord(1, "import", "import_movies", 2, {}, None, "done", now, None, {})
    assert source.input_run_ids == ()


def test_an_item_names_all_items_it_was_made_from():
    item = ItemRecord(2, "all", "key", "done", input_item_id=4, gathered=(8, 9), other_inputs={"map": 6})
    assert item.input_ids == (4, 8, 9, 6)
    assert ItemRecord(2, "TS_01", "key", "done", part_of=11).input_ids == (11,)


def test_items_that_were_fanned_out_have_no_value_of_their_own():
    assert ItemRecord(2, "all", "key", "done", value={FANNED_OUT: ["TS_01"]}).is_fanned_out
    assert not ItemRecord(2, "all", "key", "done", value={"name": "all"}).is_fanned_out
    assert not ItemRecord(2, "all", "key", "failed").is_fanned_out


def test_figures_without_a_value_keep_their_reason():
    stored = stored_figures({"residual": 1.5}, {"thickness": "no features"})
    assert read_figures(stored) == ({"residual": 1.5}, {"thickness": "no features"})
    assert read_figures({"residual": 1.5}) == ({"residual": 1.5}, {})


def test_an_error_is_one_sentence():
    assert sentence(None) is None
    assert sentence({"message": "the disk is full"}) == "the disk is full"
    assert sentence({"message": "too few", "facts": {"n": 4}}) == "too few (n=4)"
