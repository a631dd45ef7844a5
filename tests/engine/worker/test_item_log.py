"""The log of one item: begun with its first line, and only ever added to."""

from __future__ import annotations

import os
import re

from cryoloom.engine.worker.item_log import LOG_NAME, ItemLog

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


def test_it_begins_under_a_heading_with_the_first_line(tmp_path):
    log = ItemLog(tmp_path / "TS_01" / LOG_NAME, "align_series of TS_01")
    assert not log.is_begun
    assert (log.size(), log.tail(0)) == (0, "")
    assert not log.path.exists()
    log.line("tilt 3 is dark")
    first, second = log.path.read_text().splitlines()
    assert re.fullmatch(rf"--- {TIME}  align_series of TS_01", first)
    assert re.fullmatch(rf"{TIME}  tilt 3 is dark", second)
    assert log.is_begun


def test_a_second_try_adds_its_own_heading(tmp_path):
    for _ in range(2):
        ItemLog(tmp_path / LOG_NAME, "again").line("x")
    assert (tmp_path / LOG_NAME).read_text().count("--- ") == 2


def test_programs_print_to_it_and_their_output_is_found(tmp_path):
    log = ItemLog(tmp_path / LOG_NAME, "run")
    log.line("before")
    start = log.size()
    with log.opened() as descriptor:
        os.write(descriptor, b"iteration 1\n\xff\n")
    assert log.tail(start) == "iteration 1\n\ufffd\n"


def test_only_the_end_of_much_output_is_read(tmp_path):
    log = ItemLog(tmp_path / LOG_NAME, "")
    log.add("x" * 300_000)
    assert len(log.tail(0)) == 200_000


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    log = ItemLog(tmp_path / "file" / LOG_NAME, "run")
    log.line("lost")
    assert not log.is_begun
