"""What the engine hands to a step."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoloom.engine.worker.context import EngineContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.parquet import ParquetTable
from makers.fakes import draw, smooth


def engine_context(folder, function=draw):
    return EngineContext(folder, folder / "item", "cpu", 1, 1 << 30, seed=1, step=function.declaration)


@pytest.mark.parametrize("kind", ["stack", "volume"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_the_header_says_what_a_file_is(tmp_path, rng, kind, multiscale):
    context = engine_context(tmp_path)
    values = rng.standard_normal((5, 6, 8)).astype(np.float32)
    context.new_pixels("made", values.shape, 2.0, kind=kind, multiscale=multiscale)[:] = values
    context.commit()
    with mrcfile.open(tmp_path / "item" / "made.mrc") as file:
        assert file.is_volume() == (kind == "volume")
        assert file.is_image_stack() == (kind == "stack")
        assert float(file.voxel_size.z) == pytest.approx(2.0)
        np.testing.assert_array_equal(file.data, values)


def test_a_table_is_read_at_once_and_appears_when_committed(tmp_path):
    context = engine_context(tmp_path)
    table = context.new_table("picked", {"x_angstrom": np.array([1.0, 2.0]), "particle": np.array([1, 2])})
    assert table.read("particle")["particle"].tolist() == [1, 2]
    assert not table.path.exists()
    (file,) = context.commit()
    assert (file.role, file.path.as_posix()) == ("picked", "item/picked.parquet")
    assert ParquetTable(table.path).read("x_angstrom")["x_angstrom"].tolist() == [1.0, 2.0]


def test_a_position_that_is_no_number_is_refused(tmp_path):
    context = engine_context(tmp_path)
    with pytest.raises(DataUnfitError, match="x_angstrom"):
        context.new_table("picked", {"x_angstrom": np.array([1.0, np.nan])})
    with pytest.raises(ValueError, match="one length"):
        context.new_table("picked", {"particle": np.zeros(2), "score": np.zeros(3)})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), None])
def test_a_figure_that_is_no_number_is_not_measurable_and_fails_nothing(tmp_path, value):
    context = engine_context(tmp_path)
    context.figure("noise_ratio", value, reason="the images are too dark")
    assert context.figures == {}
    assert context.reasons_not_measurable == {"noise_ratio": "the images are too dark"}
    context.figure("noise_ratio", 2.0)  # measured after all
    assert context.figures == {"noise_ratio": 2.0}
    assert context.reasons_not_measurable == {}
    context.not_measurable("noise_ratio", "no image")
    assert context.figures == {}


def test_a_figure_or_record_that_is_not_declared_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"step draw made the figure 'colour'.*add it to @step\(figures"):
        engine_context(tmp_path).figure("colour", 1.0)
    with pytest.raises(ValueError, match="which it does not declare"):
        engine_context(tmp_path).not_measurable("colour", "no light")
    with pytest.raises(ValueError, match=r"step smooth made the record 'colours'.*expected one of widths"):
        engine_context(tmp_path, smooth).record("colours", [1])
