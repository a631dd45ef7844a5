"""Columns of a table in memory by name."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.model import ArrayTable, Table


def test_columns_are_read_by_name():
    table = ArrayTable({"x_angstrom": np.arange(3.0), "name": np.array(["a", "b", "c"])})
    assert isinstance(table, Table)
    assert (table.n_rows, table.columns) == (3, ("x_angstrom", "name"))
    assert list(table.read("name")) == ["name"]
    assert list(table.read()) == ["x_angstrom", "name"]
    with pytest.raises(KeyError):
        table.read("y_angstrom")
    assert ArrayTable({}).n_rows == 0
