"""The tables: what goes in comes out as it was, in UTC and exact, and names of items are unique in a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cryoloom.store.tables import Base, ContentRow, DecisionRow, FileRow, ItemRow, RunRow, pack

HERE = timezone(timedelta(hours=5, minutes=30))
WHEN = datetime(2026, 11, 29, 1, 15, 3, 250, tzinfo=HERE)


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def a_run(**more):
    given = {
        "node": "draw", "step": "draw", "step_version": 1, "parameters": {"width_angstrom": 1e-3},
        "state": "running", "created": WHEN, "environment": {},
    }  # fmt: skip
    return RunRow(**{**given, **more})


def stored(session, row):
    session.add(row)
    session.commit()
    session.expire_all()
    return row


def test_a_time_is_stored_in_utc_and_comes_back_as_the_same_moment(session):
    run = stored(session, a_run())
    assert run.created == WHEN
    assert run.created.tzinfo is UTC
    assert run.ended is None
    (raw,) = session.execute(text("SELECT created FROM runs")).one()
    assert str(raw).startswith("2026-11-28 19:45:03")


def test_values_are_compressed_and_exact(session):
    run = stored(session, a_run())
    value = {"tilts": [{"shift_xy_angstrom": [0.1, -2e-7], "name": "Å", "none": None}] * 61}
    item = ItemRow(run_id=run.id, name="TS_01", key="k", state="done")
    item.content = ContentRow(value=value, records=None)
    stored(session, item)
    content = session.get(ContentRow, item.id)
    assert content.value == value
    assert content.records is None
    (size,) = session.execute(text("SELECT length(value) FROM contents")).one()
    assert size == len(pack(value)) < 0.1 * len(str(value))


def test_what_an_item_does_not_say_has_its_default(session):
    run = stored(session, a_run())
    item = stored(session, ItemRow(run_id=run.id, name="TS_01", key="k", state="done"))
    assert (item.output, item.reason, item.figures, item.warnings, item.part_of) == ("", "", {}, [], None)
    item.files.append(FileRow(role="images", path="runs/001_draw/TS_01/images.mrc", bytes=12))
    session.commit()
    assert [file.cleaned for file in run.items[0].files] == [None]


def test_a_run_has_one_item_of_a_name_and_output(session):
    run = stored(session, a_run())
    stored(session, ItemRow(run_id=run.id, name="TS_01", key="k", state="done"))
    stored(session, ItemRow(run_id=run.id, name="TS_01", key="k", state="done", output="odd"))
    session.add(ItemRow(run_id=run.id, name="TS_01", key="other", state="failed"))
    with pytest.raises(IntegrityError):
        session.commit()


def test_a_decision_keeps_its_words(session):
    row = DecisionRow(
        batch=1, kind="parameter", item="TS_01", target="x", value="1e3", who="ada", role="user", page="",
        why="", created=WHEN,
    )  # fmt: skip
    assert stored(session, row).value == "1e3"
