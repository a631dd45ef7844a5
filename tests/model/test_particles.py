from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.model import ArrayTable, ParticleRows


def some_rows(tomogram: str, n: int, **more: object) -> ParticleRows:
    rng = np.random.default_rng(n)
    return ParticleRows.of(
        tomogram, rng.normal(0, 100, (n, 3)), rotations=Rotation.random(n, rng).as_matrix(), **more
    )


def assert_same(found: ParticleRows, expected: ParticleRows) -> None:
    ours, theirs = found.columns(), expected.columns()
    assert list(ours) == list(theirs)
    for name in ours:
        assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_rows_come_back_from_their_columns():
    rows = some_rows(
        "TS_1",
        5,
        prior_directions=np.tile([0.0, 0.6, 0.8], (5, 1)),
        prior_width_deg=np.full(5, 10.0),
        tube=np.array([1, 1, 2, -1, -1]),
        others={"group": np.arange(5)},
    )
    assert_same(ParticleRows.from_table(ArrayTable(rows.columns())), rows)


def test_joining_fills_what_only_some_have():
    both = ParticleRows.joined([some_rows("a", 2, score=np.array([1.0, 2.0])), some_rows("b", 3)])
    assert both.n == 5
    assert_array_equal(both.score, [1.0, 2.0, np.nan, np.nan, np.nan])
    assert both.surface is None
    assert_array_equal(both.tomogram, ["a", "a", "b", "b", "b"])


def test_taking_keeps_every_column():
    rows = some_rows("a", 4, half=np.array([1, 2, 1, 2]), others={"group": np.arange(4)})
    taken = rows.take(rows.half == 2)
    assert_array_equal(taken.particle, [2, 4])
    assert_array_equal(taken.others["group"], [1, 3])


def test_no_rows_are_a_table_too():
    empty = ParticleRows.of("a", np.zeros((0, 3)))
    assert ParticleRows.from_table(ArrayTable(empty.columns())).n == 0


def test_a_table_without_rotations_is_refused():
    columns = some_rows("a", 2).columns()
    del columns["r11"]
    with pytest.raises(DataUnfitError, match="r11"):
        ParticleRows.from_table(ArrayTable(columns))
