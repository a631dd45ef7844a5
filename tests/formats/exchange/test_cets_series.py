"""Data sets of CETS: alignments as rays of the image, whatever the order of the two transformations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.cets_series import read_cets_alignment, read_cets_ctf, write_cets_series
from cryoloom.geometry.projection import project
from makers.made_series import aligned, make_series


@pytest.fixture
def written(tmp_path):
    series = aligned(make_series(n_tilts=5, shape_yx=(20, 31), step_deg=15.0), leave_out=(3,))
    write_cets_series([(series, None)], tmp_path)
    return series, tmp_path / "TS_01_cets.json"


def test_an_alignment_leads_from_the_image_to_the_specimen(written):
    series, path = written
    (region,) = json.loads(path.read_text())["regions"]
    image = {one["id"]: one for one in region["tilt_series"][0]["images"]}
    for projection in region["alignments"][0]["projection_alignments"]:
        tilt = next(t for t in series.tilts if t.section == image[projection["tilt_image_id"]]["section"])
        point = np.array([[30.0, -20.0, 10.0]])
        seen = project(point, tilt.pose.matrix[None], np.array([tilt.pose.shift_xy_angstrom]))[0, 0]
        translation, affine = (list(one.values())[1] for one in projection["sequence"])
        on_ray = np.array(affine) @ (np.array([*seen, 0.0]) + translation)
        beam = np.array(affine) @ (0.0, 0.0, 1.0)
        assert_allclose(np.cross(point[0] - on_ray, beam), 0.0, atol=1e-9)
    assert len(image) == 5
    # A pixel is led to angstrom from the middle one.
    (steps,) = image["TS_01_000"]["coordinate_transformations"]
    centre = np.array([15, 10]) + steps["sequence"][0]["translation"]
    assert_allclose(centre * steps["sequence"][1]["scale"], 0.0)


def test_the_other_order_is_read_too(written, tmp_path):
    _, path = written
    data = json.loads(path.read_text())
    for projection in data["regions"][0]["alignments"][0]["projection_alignments"]:
        translation, affine = projection["sequence"]
        turned = np.array(affine["affine"]) @ translation["translation"]
        projection["sequence"] = [
            affine,
            {"transformation_type": "translation", "translation": turned.tolist()},
        ]
    (tmp_path / "other.json").write_text(json.dumps(data))
    first, second = (read_cets_alignment(p).views for p in (path, tmp_path / "other.json"))
    for a, b in zip(first, second, strict=True):
        assert (a.pose is None) == (b.pose is None)
        if a.pose is not None:
            assert_allclose(a.pose.shift_xy_angstrom, b.pose.shift_xy_angstrom, atol=1e-9)


def test_what_is_no_data_set(written, tmp_path):
    _, path = written
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataUnfitError, match="holds no tilt series with images"):
        read_cets_alignment(tmp_path / "x.json")
    data = json.loads(path.read_text())
    data["regions"][0]["alignments"][0]["projection_alignments"][0]["sequence"][1]["affine"][0][0] = 3.0
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(DataUnfitError, match="is not a rotation"):
        read_cets_alignment(tmp_path / "x.json")
    bare = make_series(n_tilts=3)
    write_cets_series([(bare, None)], tmp_path / "bare")
    with pytest.raises(DataUnfitError, match="holds no CTF"):
        read_cets_ctf(tmp_path / "bare" / "TS_01_cets.json")
    with pytest.raises(DataUnfitError, match="holds no alignment"):
        read_cets_alignment(tmp_path / "bare" / "TS_01_cets.json")
