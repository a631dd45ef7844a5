"""What the engine hands to a step."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoloom.engine.worker.context import EngineContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.parquet import ParquetTable


@pytest.mark.parametrize("kind", ["stack", "volume"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_the_header_says_what_a_file_is(tmp_path, rng, kind, multiscale):
    context = EngineContext(tmp_path, tmp_path / "item", "cpu", 1, 1 << 30, seed=1)
    values = rng.standard_normal((5, 6, 8)).astype(np.float32)
    context.new_pixels("made", values.shape, 2.0, kind=kind, multiscale=multiscale)[:] = values
    context.commit()
    with mrcfile.open(tmp_path / "item" / "made.mrc") as file:
        assert file.is_volume() == (kind == "volume")
        assert file.is_image_stack() == (kind == "stack")
        assert float(file.voxel_size.z) == pytest.approx(2.0)
        np.testing.assert_array_equal(file.data, values)


def test_a_table_is_read_at_once_and_appears_when_committed(tmp_path):
    context = EngineContext(tmp_path, tmp_path / "item", "cpu", 1, 1 << 30, seed=1)
    table = context.new_table("picked", {"x_angstrom": np.array([1.0, 2.0]), "particle": np.array([1, 2])})
    assert table.read("particle")["particle"].tolist() == [1, 2]
    assert not table.path.exists()
    (file,) = context.commit()
    assert (file.role, file.path.as_posix()) == ("picked", "item/picked.parquet")
    assert ParquetTable(table.path).read("x_angstrom")["x_angstrom"].tolist() == [1.0, 2.0]


def test_a_position_that_is_no_number_is_refused(tmp_path):
    context = EngineContext(tmp_path, tmp_path / "item", "cpu", 1, 1 << 30, seed=1)
    with pytest.raises(DataUnfitError, match="x_angstrom"):
        context.new_table("picked", {"x_angstrom": np.array([1.0, np.nan])})
    with pytest.raises(ValueError, match="one length"):
        context.new_table("picked", {"particle": np.zeros(2), "score": np.zeros(3)})
