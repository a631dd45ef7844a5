"""IMOD's binary models: its own files, the round trip, and what is damaged."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.model import ImodModel, ImodObject, read_model, write_model


@pytest.mark.parametrize(
    ("name", "shape", "pixel", "contours", "mean"),
    [
        # Means of the last object's contours' means, as the package imodmodel reads them.
        ("meshed_contour", (127, 1440, 1023), 10.68, [67], (631.54171463, 879.21216967, 65.68699795)),
        ("meshed_curvature", (256, 91, 221), 2.156, [11, 11], (165.29051378, 50.50128443, 134.0)),
        ("multiple_objects", (300, 924, 956), 19.733333, [0, 1, 1], (776.16680908, 337.55567424, 141.0)),
    ],
)
def test_reads_imods_own_models(data, name, shape, pixel, contours, mean):
    model = read_model(data / "imod" / "models" / f"{name}_example.mod")
    assert model.shape_zyx == shape
    assert model.pixel_size_angstrom == pytest.approx(pixel, rel=1e-6)
    assert [len(one.contours) for one in model.objects] == contours
    found = np.mean([contour.mean(axis=0) for contour in model.objects[-1].contours], axis=0)
    np.testing.assert_allclose(found, mean, rtol=1e-6)


def test_models_survive_the_round_trip(rng, tmp_path):
    contours = tuple(np.float32(rng.uniform(0, 500, (n, 3))).astype(float) for n in (3, 0, 7))
    model = ImodModel((41, 400, 500), (ImodObject("beads", contours), ImodObject("none", ())), 2.7)
    write_model(tmp_path / "a.fid", model)
    again = read_model(tmp_path / "a.fid")
    assert again.shape_zyx == model.shape_zyx
    assert again.pixel_size_angstrom == pytest.approx(2.7)
    assert [one.name for one in again.objects] == ["beads", "none"]
    for contour, was in zip(again.objects[0].contours, contours, strict=True):
        np.testing.assert_array_equal(contour, was)


@pytest.mark.parametrize("kept", [0, 100, 500, -30, -4])
def test_cut_or_foreign_files_are_refused(rng, tmp_path, kept):
    write_model(tmp_path / "a.fid", ImodModel((1, 9, 9), (ImodObject("a", (rng.normal(size=(20, 3)),)),)))
    whole = (tmp_path / "a.fid").read_bytes()
    (tmp_path / "a.fid").write_bytes(whole[:kept])
    with pytest.raises(DataUnfitError, match=r"a\.fid is"):
        read_model(tmp_path / "a.fid")
