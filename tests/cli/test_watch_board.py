"""The table of a session, and the lines it leaves: what a person at the microscope reads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cryoloom.cli.watch_board import JsonWatchListener, WatchBoard
from cryoloom.engine.graph.workflow import load_workflow
from cryoloom.engine.live.watch_status import SeriesStatus
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.records import ItemRecord


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120, height=20, force_terminal=False)


@pytest.fixture
def board(console):
    board = WatchBoard(console, n_expected=41)
    board.planned(load_workflow("tomogram"))
    return board


def task(item, node="align_frames", grows=False):
    return Task(
        project=Path(),
        node=node,
        step=node,
        parameters={},
        run_folder="runs/1",
        run_id=1,
        item=item,
        key="0" * 64,
        value={},
        grows=grows,
    )


def done(item, **facts):
    return ItemRecord(1, item, "key", **{"state": "done", **facts})


def table(board, console):
    with console.capture() as captured:
        console.print(board._render())
    return captured.get()


def lines(console):
    return [line.split(maxsplit=1)[1] for line in console.file.getvalue().splitlines()]


def row(text, name):
    cells = next(line for line in text.splitlines() if f"│ {name} " in line)
    return [cell.strip() for cell in cells.strip("│").split("│")]


def test_an_open_series_shows_what_came_and_what_is_aligned(board, console):
    board.watching([SeriesStatus("TS_01", "open", 12, 14, "a.tif missing")], "")
    board.started(task("TS_01", grows=True))
    board.progress(task("TS_01", grows=True), 11, 12)
    text = table(board, console)
    assert row(text, "TS_01") == ["TS_01", "12/41", "11", "open", "align_frames 11/12", "a.tif missing"]
    assert "1 open" in text.splitlines()[0]
    board.processed_ahead(Outcome(task=task("TS_01", grows=True), value=None, error=None))
    assert row(table(board, console), "TS_01")[4] == ""
    assert lines(console) == ["TS_01  began"]


def test_a_series_on_its_way_and_at_its_end(board, console):
    board.watching([SeriesStatus("TS_01", "open", 41, 41)], "")
    board.watching([SeriesStatus("TS_01", "closed", 41, 41, "41 of 41 tilts; closed: all 41 tilts came")], "")
    board.finished("import_movies", done("TS_01"))
    board.started(task("TS_01"))
    board.progress(task("TS_01"), 3, 41)
    assert row(table(board, console), "TS_01")[3:5] == ["working", "align_frames 3/41"]
    board.finished("reconstruct", done("TS_01", figures={"contrast": 0.25}))
    assert row(table(board, console), "TS_01")[3:] == ["done", "", "contrast 0.25"]
    assert lines(console)[1:] == [
        "TS_01  41 of 41 tilts; closed: all 41 tilts came",
        "TS_01  done  contrast 0.25",
    ]


def test_what_goes_wrong_is_a_line(board, console):
    board.watching([SeriesStatus("TS_01", "open", 40, 41), SeriesStatus("TS_02", "open", 2, 2)], "")
    warning = "TS_01: 40 of 41 tilts came; closed: by word"
    board.watching([SeriesStatus("TS_01", "closed", 40, 41, "40 of 41 tilts; closed: by word")], "")
    board.finished("import_movies", done("TS_01", warnings=(warning,)))
    failure = {"kind": "DataUnfitError", "message": "too few tilts [b]", "facts": {"got": "4"}}
    board.finished("align_series", done("TS_01", state="failed", error=failure))
    board.finished("import_movies", done("TS_02", state="left_out", reason="abandoned with 2 of 41 tilts"))
    board.watching([], "the folder /raw cannot be read: Stale file handle")
    board.watching([], "the folder /raw cannot be read: Stale file handle")
    assert lines(console)[2:] == [
        "TS_01  40 of 41 tilts came; closed: by word",
        "TS_01  failed: align_series: too few tilts [b] (got=4)",
        "TS_02  abandoned with 2 of 41 tilts",
        "folder  the folder /raw cannot be read: Stale file handle",
    ]
    text = table(board, console)
    assert "1 failed   1 abandoned" in text
    assert "Stale file handle" in text


def test_hundreds_of_series_fit_the_screen_and_the_open_ones_are_there(board, console):
    closed = [SeriesStatus(f"TS_{i:03d}", "closed", 41, 41, "") for i in range(300)]
    board.watching([*closed, SeriesStatus("TS_300", "open", 5, 5)], "")
    for i in range(300):
        board.finished("reconstruct", done(f"TS_{i:03d}", reused_from=1))
    text = table(board, console)
    assert len(text.splitlines()) <= console.height
    assert row(text, "TS_300")[3] == "open"
    assert row(text, "TS_299")[3] == "done"
    assert "289 more series" in text


def test_json_lines_tell_changes_once(console):
    listener = JsonWatchListener(console)
    one = SeriesStatus("TS_01", "open", 3, 4, "b.tif being written")
    for _ in range(2):
        listener.watching([one], "")
    listener.watching([one], "the folder cannot be read")
    events = [json.loads(line) for line in console.file.getvalue().splitlines()]
    assert events == [
        {"event": "series", "item": "TS_01", "state": "open", "tilts_whole": 3, "tilts_told": 4,
         "note": "b.tif being written"},
        {"event": "folder", "trouble": "the folder cannot be read"},
    ]  # fmt: skip
