"""Files of points: text with and without a header, IMOD models, Dynamo tables, and what cannot be right."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.io import savemat

from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.formats.imod.model import ImodModel, ImodObject, write_model


def test_text_without_a_header_is_pixels(tmp_path):
    path = tmp_path / "points.txt"
    path.write_text("# x y z model\n10 20 30 1\n11 21 31 1\n\n40 50 60 2\n")
    first, second = read_marked_points(path)
    assert (first.model, second.model) == (1, 2)
    assert not first.in_angstrom
    assert_allclose(first.points, [[10, 20, 30], [11, 21, 31]])
    assert_allclose(second.points, [[40, 50, 60]])


def test_a_header_names_columns_units_and_shapes(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "tomogram,model,shape,x_angstrom,y_angstrom,z_angstrom\n"
        "TS_01,3,filament,1.5,-2e1,0\nTS_02,3,,4,5,6\n",
        encoding="utf-8-sig",
    )
    one, other = read_marked_points(path)
    assert (one.tomogram, one.model, one.shape, one.in_angstrom) == ("TS_01", 3, "filament", True)
    assert_allclose(one.points, [[1.5, -20, 0]])
    assert (other.tomogram, other.shape) == ("TS_02", "")


def test_semicolons_and_blanks_separate_too(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("x; y; z\n1; 2; 3\n")
    assert_allclose(read_marked_points(path)[0].points, [[1, 2, 3]])


def test_contours_of_an_imod_model_are_models(tmp_path):
    path = tmp_path / "vesicles.mod"
    contours = (np.array([[10.5, 20.5, 3.0], [11.5, 20.5, 4.0]]), np.array([[30.5, 5.5, 7.0]]))
    write_model(path, ImodModel((50, 60, 70), (ImodObject("vesicles", contours),), 8.0))
    one, other = read_marked_points(path)
    # Voxel (10, 20) has its centre at 10.5, 20.5 in IMOD; sections count from 0.
    assert_allclose(one.points, [[10, 20, 3], [11, 20, 4]])
    assert_allclose(other.points, [[30, 5, 7]])
    assert one.pixel_size_angstrom == pytest.approx(8.0)


def test_a_real_dynamo_table_numbers_models_and_tomograms(data):
    parts = read_marked_points(data / "dynamo" / "t_double.tbl")
    rows = np.loadtxt(data / "dynamo" / "t_double.tbl")
    assert sum(len(part.points) for part in parts) == len(rows)
    # The first row: 141.28 + 2.5178, and Dynamo's first voxel is 1.
    of_row = next(
        part for part in parts if part.model == int(rows[0, 20]) and part.tomogram == str(int(rows[0, 19]))
    )
    assert_allclose(of_row.points[0], [141.28 + 2.5178 - 1, 114.71 - 3.523 - 1, 163.08 + 2.1043 - 1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no points"),
        ("x,y\n1,2\n", r"lacks the columns \['z'\]"),
        ("1 2 3\n4 five 6\n", "line 2 .* expected numbers"),
        ("1 2\n", "line 1 .* expected numbers"),
        ("1 2 nan\n", "not finite"),
    ],
)
def test_what_cannot_be_right_is_reported_with_its_line(tmp_path, text, said):
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(UserInputError, match=said):
        read_marked_points(path)
    with pytest.raises(UserInputError, match="does not exist"):
        read_marked_points(tmp_path / "none.txt")


def test_structures_of_a_dynamo_model(tmp_path):
    """Voxels count from 1 there; every model is a number."""
    models = [
        {"points": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])},
        {"points": np.array([[7.0, 8.0, 9.0]])},
    ]
    savemat(tmp_path / "a.omd", {"vesicle": models[0], "other": models[1]}, appendmat=False)
    parts = read_marked_points(tmp_path / "a.omd")
    assert [(one.model, len(one.points)) for one in parts] == [(1, 1), (2, 2)]
    assert_allclose(parts[1].points, [[0, 1, 2], [3, 4, 5]])


def test_objects_of_dynamo_are_named(tmp_path):
    savemat(tmp_path / "b.omd", {"handle": np.arange(4.0)}, appendmat=False)
    with pytest.raises(UserInputError, match=r"In Dynamo, m = dread\('b\.omd'\); dwrite"):
        read_marked_points(tmp_path / "b.omd")
    (tmp_path / "c.omd").write_text("no file of MATLAB")
    with pytest.raises(UserInputError, match="cannot be read as a file of MATLAB"):
        read_marked_points(tmp_path / "c.omd")
    savemat(tmp_path / "d.omd", {"m": {"points": np.zeros((2, 2))}}, appendmat=False)
    with pytest.raises(UserInputError, match=r"shape \(2, 2\), expected \(n, 3\)"):
        read_marked_points(tmp_path / "d.omd")
