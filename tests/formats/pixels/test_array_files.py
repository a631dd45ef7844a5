"""Arrays of a folder: whole or not at all, and read where they lie."""

from __future__ import annotations

import numpy as np

from cryoloom.formats.pixels.array_files import open_arrays, write_arrays


def test_arrays_come_back_by_name_without_being_read(tmp_path, rng):
    arrays = {"maps": rng.normal(size=(2, 3)), "n": np.array(7)}
    write_arrays(tmp_path / "part", arrays)
    opened = open_arrays(tmp_path / "part")
    assert isinstance(opened["maps"], np.memmap)
    for name, array in arrays.items():
        np.testing.assert_array_equal(opened[name], array)


def test_unfinished_files_are_no_arrays(tmp_path):
    write_arrays(tmp_path, {"a": np.zeros(3)})
    (tmp_path / ".b.npy.part").write_bytes(b"half")
    assert list(open_arrays(tmp_path)) == ["a"]


def test_writing_again_replaces(tmp_path):
    for value in (1.0, 2.0):
        write_arrays(tmp_path, {"a": np.full(3, value)})
    assert float(open_arrays(tmp_path)["a"][0]) == 2.0
