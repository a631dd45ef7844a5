"""Parts of a step's work: in order, equal for any number of workers, repeated if a worker is lost."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

from cryoloom.engine.worker.context import EngineContext
from cryoloom.engine.worker.failures import PartError
from cryoloom.engine.worker.parts import N_TRIES, WorkerLostError, run_part
from cryoloom.engine.worker.resources import Resources
from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.model import Microscope, TiltSeries
from makers.fakes import average_all

RESOURCES = Resources("cpu", 1, 1 << 30)


def squared(part, context):
    """Square numbers, and draw some."""
    return {"squares": np.square(part["numbers"]), "drawn": context.rng.random(2)}


def unfit(part, context):
    """Fail at the parts from 2 on."""
    if part >= 2:
        raise DataUnfitError("too dark", part=part)
    return {"part": np.array(part)}


def buggy(part, context):
    """Fail."""
    return {"part": np.array(part["no"])}


def refused(part, context):
    """Call what a part may not."""
    getattr(context, part)("x", [1])
    return {}


def described(part, context):
    """Tell what came, and leave a file in the folder of this part."""
    (context.scratch() / "a file").touch()
    context.warn(f"seen {part['series'].name}")
    return {"n": np.array(len(part["list"])), "is_tuple": np.array(isinstance(part["list"], tuple))}


class Pool:
    """Does parts when their result is asked for, the last first; loses some."""

    def __init__(self, lost=()):
        self.lost = list(lost)
        self.most_open = 0
        self.open = []
        self.n_cancelled = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, task):
        future = Future()
        self.open.append((task, future))
        self.most_open = max(self.most_open, len(self.open))
        return future

    def work(self):
        while self.open:
            task, future = self.open.pop()
            if task.part in self.lost:
                self.lost.remove(task.part)
                future.set_exception(WorkerLostError("node7"))
            else:
                future.set_result(run_part(task, RESOURCES))

    def cancel(self, futures):
        self.n_cancelled = len(futures)


def engine_context(project, name):
    folder = project / "runs" / "1_x" / name
    return EngineContext(
        project, folder, "cpu", 1, 1 << 30, seed=7, item_name=name, step=average_all.declaration
    )


@pytest.fixture
def context(tmp_path):
    made = engine_context(tmp_path, "all")
    yield made
    made.close()


def with_pool(context, pool, n_at_once=3):
    context.__dict__.pop("_mapper", None)  # of another pool
    context.open_pool, context.parts_at_once, context.look = lambda: pool, n_at_once, pool.work
    return context


def test_results_come_in_the_order_of_the_parts(context):
    reported = []
    parts = [{"numbers": np.arange(i, i + 3)} for i in range(7)]
    results = context.map(squared, parts, progress=lambda *how: reported.append(how))
    assert [list(r["squares"]) for r in results] == [[i * i, (i + 1) ** 2, (i + 2) ** 2] for i in range(7)]
    assert reported[-1] == (7, 7)
    assert len({r["drawn"][0] for r in results}) == 7
    again = context.map(squared, parts)
    assert again[0]["drawn"][0] != results[0]["drawn"][0]  # another call, other numbers


@pytest.mark.parametrize("n_at_once", [1, 3, 20])
def test_results_do_not_depend_on_who_does_them(context, tmp_path, n_at_once):
    parts = [{"numbers": np.arange(i)} for i in range(7)]
    alone = context.map(squared, parts)
    pool = Pool()
    other = with_pool(engine_context(tmp_path, "other"), pool, n_at_once)
    for mine, its in zip(alone, other.map(squared, parts), strict=True):
        np.testing.assert_array_equal(mine["squares"], its["squares"])
        np.testing.assert_array_equal(mine["drawn"], its["drawn"])
    assert pool.most_open <= n_at_once


def test_a_part_whose_worker_is_lost_is_done_again(context):
    pool = Pool(lost=[1, 1])
    assert [int(r["part"]) for r in with_pool(context, pool).map(unfit, [0, 1, 0])] == [0, 1, 0]
    assert not pool.lost
    with pytest.raises(TransientError, match=f"was lost {N_TRIES} times") as lost:
        with_pool(context, Pool(lost=[1] * N_TRIES)).map(unfit, [0, 1, 0])
    assert lost.value.facts["hosts"] == "node7"


def test_the_error_of_the_first_part_that_fails_is_raised(context):
    pool = Pool()
    with pytest.raises(DataUnfitError, match="too dark") as failure:
        with_pool(context, pool, 2).map(unfit, [0, 2, 3, 4, 5, 6, 7])
    assert failure.value.facts == {"part": "2"}
    assert pool.n_cancelled >= 1


def test_a_bug_in_a_part_comes_with_its_traceback(context):
    with pytest.raises(PartError) as failure:
        context.map(buggy, [{"yes": 1}])
    assert "KeyError" in str(failure.value)
    assert 'return {"part": np.array(part["no"])}' in failure.value.traceback_text


@pytest.mark.parametrize(
    ("what", "sentence"),
    [("map", "cannot be divided again"), ("imap", "cannot be divided again"), ("new_pixels", "no outputs"),
     ("figure", "no outputs")],
)  # fmt: skip
def test_what_a_part_may_not_do_is_refused_with_a_sentence(context, what, sentence):
    with pytest.raises(PartError, match=sentence):
        context.map(refused, [what])


def test_parts_are_done_by_functions_of_a_module(context):
    def inner(part, context):
        return {}

    for function in (inner, lambda part, context: {}):
        with pytest.raises(TypeError, match="a function of a module"):
            context.map(function, [1])
    with pytest.raises(TypeError, match="cannot store a object"):
        context.map(squared, [object()])


def test_values_of_the_model_go_to_parts_and_warnings_come_back(context):
    part = {"series": TiltSeries("TS_01", Microscope(), 2.5, ()), "list": [1, 2]}
    (result,) = context.map(described, [part])
    assert (result["n"], result["is_tuple"]) == (2, True)
    assert context.warnings == ["seen TS_01"]
    assert [path.name for path in context.scratch().glob("*/*")] == ["a file"]
    context.close()
    assert not context.folder.joinpath(".scratch.part").exists()


def test_a_sum_is_made_one_by_one_and_may_be_left_early(context):
    pool = Pool()
    results = with_pool(context, pool, 2).imap(unfit, [0, 1, 0, 1, 0, 1, 0, 1])
    assert int(next(results)["part"]) == 0
    context.close()
    with pytest.raises(StopIteration):
        next(results)
