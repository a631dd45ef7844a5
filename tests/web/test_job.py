"""Commands started from the browser: their log, their end, and what waits for what."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from cryoloom.errors import UserInputError
from cryoloom.web.job import jobs_of, log_part, start_job


def finished(project: Path, number: int) -> Any:
    for _ in range(600):
        job = next((one for one in jobs_of(project) if one.number == number), None)
        if job is not None and job.state not in {"running", "queued"}:
            return job
        time.sleep(0.1)
    raise TimeoutError(f"job {number} did not end")


def test_a_job_keeps_its_log_and_how_it_ended(tmp_path: Path) -> None:
    started = start_job(tmp_path, "status", ["status", "--project", "."], "me")
    job = finished(tmp_path, started.number)
    assert job.state == "failed"  # there is no project here
    text, following, size = log_part(tmp_path, job.number, 0)
    assert "is not a cryoloom project" in text
    assert following == size
    assert job.as_typed == "cryoloom status --project ."
    assert os.getsid(0) != job.pid
    with pytest.raises(UserInputError):
        log_part(tmp_path, 99, 0)


def test_a_job_waits_for_another_and_does_not_start_where_that_failed(tmp_path: Path) -> None:
    first = start_job(tmp_path, "status", ["status", "--project", "."], "me")
    second = start_job(tmp_path, "steps", ["steps"], "me", after=first.number)
    assert second.state == "queued"
    assert finished(tmp_path, first.number).state == "failed"
    assert finished(tmp_path, second.number).state == "failed"
    assert log_part(tmp_path, second.number, 0)[0] == "not started: number 1 did not end well\n"
    with pytest.raises(UserInputError, match="no job 99 was started from the browser"):
        start_job(tmp_path, "steps", ["steps"], "me", after=99)


def test_the_end_of_a_huge_log_is_there_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "web"
    folder.mkdir(parents=True)
    (folder / "0001.json").write_text("{}")
    with (folder / "0001.log").open("wb") as file:
        file.truncate(10_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"the last line\n")
    text, following, size = log_part(tmp_path, 1, -20)
    assert text.endswith("the last line\n")
    assert following == size
