"""What a source step finds becomes records: good ones, bad ones, and pauses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cryoloom.contract import StepContext, StepParams, step
from cryoloom.engine.coordinator.sources import files_in, source_items, source_record
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.engine.worker.context import EngineContext
from cryoloom.errors import UserInputError
from cryoloom.model import Movie, TiltSeries
from cryoloom.store.records import RunRecord
from makers.fakes import FindSeriesParams, fake_steps, find_series

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


class LiveParams(StepParams):
    """Parameters."""


@step("live_series", per="project", needs=None, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def live_series(params: LiveParams, context: StepContext):
    """Find series, with pauses."""
    from makers.fakes import FindSeriesParams

    yield None
    for series in find_series(FindSeriesParams(n_series=2), context):
        yield None
        yield replace(series, name=f"live_{series.name}")


def test_a_source_step_may_say_that_nothing_is_there_yet(project, monkeypatch):
    import cryoloom.contract.discovery as discovery

    steps = {**discovery.all_steps(), "live_series": live_series.declaration}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
    live = Workflow.model_validate({"name": "live", "steps": [{"step": "live_series"}, {"step": "draw"}]})
    summary = project.run_workflow(live, open_source=source_items)
    assert summary.n_done == 4
    assert {item.name for item in project.database.items()} == {"live_TS_01", "live_TS_02"}


def source_run(project, **parameters):
    nodes = [{"step": "find_series", "parameters": parameters}]
    workflow = Workflow.model_validate({"name": "fake", "steps": nodes})
    run = RunRecord(
        1, "find_series", "find_series", 1, parameters, None, "running", datetime.now(UTC), None, {}
    )
    return workflow.steps[0], run, project.folder


def test_good_and_bad_series_become_records_with_keys_of_their_own(project):
    records = list(source_items(*source_run(project, n_series=3, bad=["TS_02"])))
    assert [(record.name, record.state) for record in records] == [
        ("TS_01", "done"), ("TS_02", "failed"), ("TS_03", "done"),
    ]  # fmt: skip
    assert records[1].error["kind"] == "DataUnfitError"
    assert "movie a.tif is missing" in records[1].error["message"]
    assert records[1].value is None
    assert len({record.key for record in records}) == 3
    again = list(source_items(*source_run(project, n_series=3, bad=["TS_02"])))
    assert [record.key for record in again] == [record.key for record in records]


def test_a_wrong_request_is_raised_and_makes_no_record(project):
    with pytest.raises(UserInputError, match="nothing is called that"):
        list(source_items(*source_run(project, refuses=True)))


def test_only_the_items_that_were_asked_for_come(project):
    node, run, folder = source_run(project, n_series=4)
    chosen = list(source_items(node.model_copy(update={"items": ("TS_03",)}), run, folder))
    assert [record.name for record in chosen] == ["TS_03"]


def test_files_that_a_value_names_are_found_at_any_depth(tmp_path):
    value = {
        "a": {"$path": "runs/1/x.mrc"},
        "list": [{"$pixels": "y.mrc"}, {"deep": {"$table": "z.parquet"}}, 3, None],
        "$path_of_nothing": "w",
    }
    assert set(files_in(value, tmp_path)) == {
        tmp_path / "runs/1/x.mrc", tmp_path / "y.mrc", tmp_path / "z.parquet",
    }  # fmt: skip


def test_a_replaced_raw_file_makes_another_key(project, tmp_path):
    node, run, folder = source_run(project)
    step = find_series.declaration
    context = EngineContext(
        folder, folder / run.folder, device="cpu", n_threads=1, memory_bytes=1 << 30, seed=1, step=step
    )
    movie = tmp_path / "a.tif"
    movie.write_bytes(b"1234")
    series = next(iter(find_series(FindSeriesParams(), context)))
    tilt = replace(series.tilts[0], movie=Movie(movie, 1, (8, 10)))
    series = replace(series, tilts=(tilt, *series.tilts[1:]))
    first = source_record("TS_01", series, node, run, context, 0.0)
    assert source_record("TS_01", series, node, run, context, 9.0).key == first.key
    movie.write_bytes(b"12345")
    assert source_record("TS_01", series, node, run, context, 0.0).key != first.key
    movie.unlink()  # a raw file that is gone is nothing that keys depend on
    assert source_record("TS_01", series, node, run, context, 0.0).state == "done"
