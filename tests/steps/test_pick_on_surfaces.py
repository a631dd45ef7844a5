"""Places on the surfaces and filaments through points that were picked by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.ellipsoids import Ellipsoid, distance_to_ellipsoid
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import even_directions
from cryoloom.model import Tomogram
from cryoloom.steps.pick_by_hand import PickByHandParams, pick_by_hand
from cryoloom.steps.pick_on_surfaces import PickOnSurfacesParams, pick_on_surfaces
from makers.context import MemoryContext
from makers.made_series import aligned, make_series

VOXEL = 10.0
VESICLE = Ellipsoid(np.array([100.0, -50.0, 20.0]), np.array([430.0, 400.0, 380.0]), np.eye(3))


@pytest.fixture
def tomogram():
    series = aligned(make_series(n_tilts=5, shape_yx=(128, 128), pixel_size_angstrom=10.0))
    return Tomogram(series, np.zeros((100, 128, 120), np.float32), VOXEL)


def hand_points(tmp_path, tomogram, text, **more):
    path = tmp_path / f"{tomogram.name}.csv"
    path.write_text(text)
    params = PickByHandParams(file=tmp_path / "{tomogram}.csv", **more)
    return pick_by_hand(tomogram, params, MemoryContext())


def as_csv(points, header="x_angstrom,y_angstrom,z_angstrom", extra=""):
    return header + "\n" + "\n".join(",".join(f"{v:.3f}" for v in p) + extra for p in points) + "\n"


def test_places_cover_an_ellipsoid_with_outward_normals(tmp_path, tomogram, rng):
    points = VESICLE.point(even_directions(14)) + rng.normal(0, 8, (14, 3))
    marked = hand_points(tmp_path, tomogram, as_csv(points))
    context = MemoryContext()
    picked = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_angstrom=80.0), context)
    rows = picked.rows()
    assert np.sqrt((distance_to_ellipsoid(VESICLE, rows.positions_xyz_angstrom) ** 2).mean()) < 15
    outward = VESICLE.normal(VESICLE.toward(rows.positions_xyz_angstrom))
    assert ((rows.prior_directions * outward).sum(axis=1) > 0.97).all()
    assert_allclose(rows.rotations[:, :, 2], rows.prior_directions, atol=1e-9)
    assert_allclose(rows.prior_width_deg, 10.0)
    assert rows.n == context.figures["n_particles"]
    assert_allclose(rows.n, 4 * np.pi * 403**2 / (0.866 * 80**2), rtol=0.06)
    assert context.figures["spacing_sd_percent"] < 12
    assert context.figures["half_axis_sd_percent"] < 6
    mesh = json.loads(context.files["surfaces.json"].read_text())["1"]
    assert len(mesh["triangles"]) > 500
    assert picked.tomograms == (tomogram,)
    # Azimuths are random but the same each time.
    again = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_angstrom=80.0), MemoryContext()).rows()
    assert_allclose(again.rotations, rows.rotations)
    inward = pick_on_surfaces(
        marked, PickOnSurfacesParams(spacing_angstrom=80.0, inward=True, most_normal_z=0.5), MemoryContext()
    ).rows()
    assert (
        (inward.prior_directions * VESICLE.normal(VESICLE.toward(inward.positions_xyz_angstrom))).sum(axis=1)
        < 0
    ).all()
    assert np.abs(inward.prior_directions[:, 2]).max() <= 0.5


def test_dynamos_parameters_are_in_voxels(tmp_path, tomogram):
    marked = hand_points(tmp_path, tomogram, as_csv(VESICLE.point(even_directions(20))))
    by_px = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_px=10), MemoryContext())
    by_angstrom = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_angstrom=100), MemoryContext())
    assert by_px.n_particles == by_angstrom.n_particles
    halved = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_px=10, subdivisions=1), MemoryContext())
    assert_allclose(halved.n_particles, 4 * by_px.n_particles, rtol=0.01)
    context = MemoryContext()
    pick_on_surfaces(marked, PickOnSurfacesParams(max_triangles=100), context)
    assert len(json.loads(context.files["surfaces.json"].read_text())["1"]["triangles"]) <= 100


def test_surfaces_filaments_and_shapes_side_by_side(tmp_path, tomogram, rng):
    angle = np.linspace(0, 1.5, 9)
    filament = np.column_stack([400 * np.cos(angle) - 200, 400 * np.sin(angle), 0 * angle])
    sheet = np.column_stack([rng.uniform(-300, 300, (30, 2)), rng.normal(-200, 3, 30)])
    text = "x_angstrom,y_angstrom,z_angstrom,model,shape\n" + "".join(
        as_csv(points, "", f",{model},{shape}")[1:]
        for model, shape, points in (
            (1, "filament", filament),
            (2, "open", sheet),
            (3, "closed", VESICLE.point(even_directions(30))),
        )
    )
    context = MemoryContext()
    params = PickOnSurfacesParams(spacing_angstrom=60.0, twist_deg=20.0)
    rows = pick_on_surfaces(hand_points(tmp_path, tomogram, text), params, context).rows()
    shapes = [surface["shape"] for surface in context.records["surfaces"]]
    assert sorted(shapes) == ["closed", "filament", "open"]
    on_tube = rows.tube >= 0
    assert on_tube.sum() == 11  # 600 A at 60 A, both ends
    assert (rows.surface[on_tube] == -1).all()
    assert (np.abs(rows.prior_directions[on_tube, 2]) < 0.1).all()
    opened = rows.surface == 1 + shapes.index("open")
    assert (rows.prior_directions[opened, 2] > 0.95).all()


def test_a_surface_slides_onto_the_density(tmp_path, tomogram, rng):
    grid = np.stack(
        np.meshgrid(*[(np.arange(n) - n // 2) * VOXEL for n in tomogram.volume.shape], indexing="ij"), axis=-1
    )[..., ::-1].reshape(-1, 3)
    # Near enough a distance from the surface, and 0 on it.
    stretched = (grid - VESICLE.centre_xyz_angstrom) / VESICLE.half_axes_angstrom
    height = 400 * (np.linalg.norm(stretched, axis=1) - 1).reshape(tomogram.volume.shape)
    volume = (-np.exp(-((height / 20) ** 2) / 2) + rng.normal(0, 1.0, height.shape)).astype(np.float32)
    wrong = Ellipsoid(VESICLE.centre_xyz_angstrom, np.array([440.0, 390.0, 390.0]), np.eye(3))
    marked = hand_points(tmp_path, tomogram, as_csv(wrong.point(even_directions(20))))
    marked = replace(marked, tomograms=(replace(tomogram, volume=volume),))
    plain = pick_on_surfaces(marked, PickOnSurfacesParams(spacing_angstrom=90.0), MemoryContext()).rows()
    context = MemoryContext()
    params = PickOnSurfacesParams(spacing_angstrom=90.0, snap_angstrom=50.0)
    snapped = pick_on_surfaces(marked, params, context).rows()
    spread = [distance_to_ellipsoid(VESICLE, rows.positions_xyz_angstrom).std() for rows in (plain, snapped)]
    assert spread[1] < 0.6 * spread[0]
    assert context.figures["snap_correlation"] > 0.7
    assert context.figures["snap_sd_angstrom"] > 3
    with pytest.raises(DataUnfitError, match="have no tomogram"):
        pick_on_surfaces(replace(marked, tomograms=()), params, MemoryContext())


def test_what_is_no_surface_is_left_out_and_reported(tmp_path, tomogram):
    good = as_csv(
        VESICLE.point(even_directions(9)), "x_angstrom,y_angstrom,z_angstrom,model,shape", ",1,sphere"
    )
    context = MemoryContext()
    marked = hand_points(tmp_path, tomogram, good + "0,0,0,2,sphere\n")
    pick_on_surfaces(marked, PickOnSurfacesParams(), context)
    assert context.figures["n_surfaces"] == 1
    assert "surface 2 of TS_01 is left out" in context.warnings[0]
    with pytest.raises(DataUnfitError, match="any of the 1 models"):
        pick_on_surfaces(
            hand_points(tmp_path, tomogram, as_csv([[0, 0, 0]])), PickOnSurfacesParams(), MemoryContext()
        )
    wrong = hand_points(tmp_path, tomogram, "x_angstrom,y_angstrom,z_angstrom,shape\n1,2,3,cube\n")
    with pytest.raises(UserInputError, match="'cube' of points; expected sphere"):
        pick_on_surfaces(wrong, PickOnSurfacesParams(), MemoryContext())
    none = pick_by_hand(tomogram, PickByHandParams(), MemoryContext())
    context = MemoryContext()
    assert pick_on_surfaces(none, PickOnSurfacesParams(), context).n_particles == 0
    assert "no points" in context.warnings[0]
