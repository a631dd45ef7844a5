"""Places on drawn models: on the surface, a spacing apart, with normals that point out or in."""

import numpy as np
import pytest

from cryoloom.errors import CryoloomError
from cryoloom.web.decide import ModelValue
from cryoloom.web.drawn.picked_models import places_on

CENTRE = np.array([100.0, -50.0, 20.0])


def on_sphere(radius: float, n: int = 40) -> list[list[float]]:
    directions = np.random.default_rng(1).standard_normal((n, 3))
    return (CENTRE + radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)).tolist()


@pytest.mark.parametrize("inwards", [False, True])
def test_places_on_a_sphere(inwards):
    model = ModelValue(shape="sphere", points=on_sphere(300.0), spacing_angstrom=60, inwards=inwards)
    made = places_on(model)
    off = np.array(made["places"]) - CENTRE
    np.testing.assert_allclose(np.linalg.norm(off, axis=1), 300.0, atol=1.0)
    outwards = (np.array(made["normals"]) * off).sum(axis=1) / 300.0
    np.testing.assert_allclose(outwards, -1.0 if inwards else 1.0, atol=0.02)
    assert len(off) == pytest.approx(4 * np.pi * 300**2 / 60**2, rel=0.35)
    assert made["size"] == "60 nm"
    np.testing.assert_allclose(made["centre"], CENTRE, atol=1.0)


def test_the_same_model_has_the_same_places():
    model = ModelValue(shape="ellipsoid", points=on_sphere(300.0), spacing_angstrom=80)
    assert places_on(model) == places_on(model)
    assert places_on(model)["size"] == "60 x 60 x 60 nm"


def test_places_along_a_filament_are_evenly_apart():
    line = [[x, 0.0, 0.0] for x in (-400.0, -100.0, 200.0, 400.0)]
    made = places_on(ModelValue(shape="filament", points=line, spacing_angstrom=50))
    places = np.array(made["places"])
    np.testing.assert_allclose(np.linalg.norm(np.diff(places, axis=0), axis=1), 50.0, rtol=0.05)
    np.testing.assert_allclose(places[:, 1:], 0.0, atol=1.0)
    assert made["size"] == "80 nm long"


def test_places_on_a_plane():
    rng = np.random.default_rng(2)
    points = np.column_stack([rng.uniform(-300, 300, (60, 2)), np.full(60, 40.0)])
    made = places_on(ModelValue(shape="membrane", points=points.tolist(), spacing_angstrom=60))
    np.testing.assert_allclose(np.array(made["places"])[:, 2], 40.0, atol=2.0)
    np.testing.assert_allclose(np.abs(np.array(made["normals"])[:, 2]), 1.0, atol=0.02)


@pytest.mark.parametrize("shape", ["sphere", "ellipsoid", "membrane"])
def test_too_few_points_are_refused_with_a_sentence(shape):
    with pytest.raises(CryoloomError, match="point"):
        places_on(ModelValue(shape=shape, points=on_sphere(100.0, 2)))
