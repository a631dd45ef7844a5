from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.model import Table


def test_columns_come_back_with_their_types(tmp_path):
    columns = {
        "tomogram": np.array(["TS_1", "TS_1", "µ"]),
        "particle": np.array([1, 2, 3]),
        "x_angstrom": np.array([1.5, np.nan, -2.0]),
        "kept": np.array([True, False, True]),
    }
    write_parquet(tmp_path / "t.parquet", columns)
    table = ParquetTable(tmp_path / "t.parquet")
    assert isinstance(table, Table)
    assert (table.n_rows, table.columns) == (3, tuple(columns))
    for name, values in table.read().items():
        assert_array_equal(values, columns[name])
        assert values.dtype.kind == columns[name].dtype.kind
    assert list(table.read("kept", "particle")) == ["kept", "particle"]


def test_an_empty_table_keeps_its_columns(tmp_path):
    write_parquet(tmp_path / "t.parquet", {"a": np.zeros(0), "name": np.zeros(0, dtype=str)})
    table = ParquetTable(tmp_path / "t.parquet")
    assert table.n_rows == 0
    assert table.read()["name"].dtype.kind == "U"


def test_columns_of_two_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one length"):
        write_parquet(tmp_path / "t.parquet", {"a": np.zeros(2), "b": np.zeros(3)})


def test_a_missing_column_and_a_broken_file_say_what_is_there(tmp_path):
    write_parquet(tmp_path / "t.parquet", {"a": np.zeros(2)})
    with pytest.raises(KeyError, match="no column"):
        ParquetTable(tmp_path / "t.parquet").read("b")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataUnfitError, match="Parquet"):
        ParquetTable(tmp_path / "broken.parquet").read()
