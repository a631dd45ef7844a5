"""The step on simulated images: shells found and turned, another particle and ice not; refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.map_symmetry import turned_map
from cryoloom.algorithms.picking.templates import density_of_points
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Sourced, Tomogram
from cryoloom.simulate.particles import builtin_models
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.steps.pick_by_template import PickByTemplateParams, bytes_needed, pick_by_template
from makers.context import MemoryContext
from makers.made_series import aligned, make_series

SCENE = SimulationParams(
    seed=4,
    image_shape_yx=(256, 288),
    pixel_size_angstrom=5.0,
    thickness_angstrom=500.0,
    n_particles=44,
    n_vesicles=0,
    n_membranes=0,
    n_beads=0,
    tilt_step_deg=5.0,
    dose_per_tilt_per_angstrom2=5.0,
    shift_rms_angstrom=20.0,
    shift_trend_angstrom=30.0,
)


@pytest.fixture(scope="module")
def scene():
    """A tomogram's series with true poses and CTFs, and the truth."""
    series, truth = simulate_tilt_series(SCENE)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    series = replace(series, handedness=Sourced(applied=float(truth.handedness)))
    volume = np.zeros((80, 128, 144), np.float32)  # only its extent matters: 800 A thick
    return Tomogram(series, volume, 10.0), truth


@pytest.fixture(scope="module")
def template_map(tmp_path_factory):
    """The built-in shell as a map, dark as some programs write it."""
    shell = builtin_models(SCENE.particle_phase_rad, np.random.default_rng([SCENE.seed, 7]))[0]
    density = density_of_points(
        shell.points_xyz_angstrom.astype(np.float64), shell.weights.astype(np.float64), 4.0
    )
    path = tmp_path_factory.mktemp("template") / "shell.mrc"
    write_mrc(path, (5.0 - 3.0 * density).astype(np.float32), 4.0)
    return path


def test_particles_are_found_and_turned(scene, template_map):
    tomogram, truth = scene
    context = MemoryContext()
    params = PickByTemplateParams(
        template=template_map,
        diameter_angstrom=135.0,
        symmetry="O",
        voxel_size_angstrom=10.0,
        angular_step_deg=10.0,
    )
    particles = pick_by_template(tomogram, params, context)
    rows = particles.rows()
    shells = truth.particles[0]
    assert shells.species == "shell"
    # Half a particle from the faces.
    inner = (np.abs(shells.positions_xyz_angstrom) < [650, 570, 330]).all(axis=1)
    distance, nearest = cKDTree(shells.positions_xyz_angstrom).query(rows.positions_xyz_angstrom)
    hit = distance < 40
    assert hit.mean() > 0.9
    assert np.isin(np.flatnonzero(inner), nearest[hit]).mean() > 0.9
    error = rotations_between(
        rows.rotations[hit], np.array(shells.rotations)[nearest[hit]], symmetry_matrices("O")
    )
    assert (error < 10).mean() > 0.9
    assert np.sqrt((distance[hit] ** 2).mean()) < 5.0
    assert context.figures["n_particles"] == particles.n_particles
    assert context.figures["orientation_significance"] > 6
    assert particles.symmetry == "O"
    assert particles.species == "shell"
    assert particles.series == (tomogram.series,)
    assert particles.common_reference == "the template"
    assert (rows.others["q_value"] <= 0.05).all()
    assert context.last_progress[0] == context.last_progress[1]


def test_a_template_about_other_axes_is_turned_before_the_search(scene, template_map, tmp_path, monkeypatch):
    tomogram, _ = scene
    turn = Rotation.from_euler("zyx", [25.0, 20.0, 35.0], degrees=True).as_matrix()
    given = MrcPixels(template_map)[...]
    path = tmp_path / "turned.mrc"
    # Beyond the box lies its solvent.
    turned = turned_map(torch.tensor(given - given[0, 0, 0]), turn).numpy() + given[0, 0, 0]
    write_mrc(path, np.roll(turned, (2, -3), (0, 2)).astype(np.float32), 4.0)
    searched = []

    def stop(*arguments, **_):
        searched.append(arguments[1])
        raise DataUnfitError("enough")

    monkeypatch.setattr("cryoloom.steps.pick_by_template.match_template", stop)
    for template, symmetry in ((template_map, "O"), (path, "O"), (path, "C1")):
        context = MemoryContext()
        params = PickByTemplateParams(template=template, diameter_angstrom=135.0, symmetry=symmetry)
        with pytest.raises(DataUnfitError, match="enough"):
            pick_by_template(tomogram, params, context)
        said = [warning for warning in context.warnings if "turned by" in warning]
        assert len(said) == (template == path and symmetry == "O")
    right, found, other = (one.density.ravel() for one in searched)
    assert np.corrcoef(right, found)[0, 1] > 0.98
    assert np.corrcoef(right, other)[0, 1] < 0.9
    params = PickByTemplateParams(template=path, diameter_angstrom=135.0, symmetry="C7")
    with pytest.raises(UserInputError, match=r"turned.mrc of pick_by_template does not have the symmetry C7"):
        pick_by_template(tomogram, params, MemoryContext())


def test_errors_say_what_to_do(scene, template_map, tmp_path):
    tomogram, _ = scene
    context = MemoryContext()
    with pytest.raises(UserInputError, match="no template"):
        pick_by_template(tomogram, PickByTemplateParams(), context)
    write_mrc(tmp_path / "nan.mrc", np.full((20, 20, 20), np.nan, np.float32), 8.0)
    (tmp_path / "empty.cif").write_text("data_x\n")
    usual = {"template": template_map, "diameter_angstrom": 130.0}
    for changes, message in (
        ({"template": tmp_path / "no.mrc"}, "does not exist"),
        ({"diameter_angstrom": None}, "set diameter_angstrom"),
        ({"diameter_angstrom": 900.0}, "box is"),
        ({"voxel_size_angstrom": 40.0}, "voxels of 40 A wide"),
        ({"symmetry": "X"}, "unknown point group"),
        ({"template": tmp_path / "nan.mrc"}, "not finite"),
        ({"template": tmp_path / "empty.cif"}, "atomic model"),
    ):
        params = PickByTemplateParams(**usual | changes)
        with pytest.raises(UserInputError, match=message):
            pick_by_template(tomogram, params, context)


def test_a_series_without_ctf_is_refused(template_map):
    series = aligned(make_series(n_tilts=5, shape_yx=(64, 64), pixel_size_angstrom=10.0))
    without = series.with_tilts({2: {"ctf": None}})
    tomogram = Tomogram(without, np.zeros((20, 64, 64), np.float32), 10.0)
    params = PickByTemplateParams(template=template_map, diameter_angstrom=130)
    with pytest.raises(DataUnfitError, match="1 of 5 tilts have no CTF"):
        pick_by_template(tomogram, params, MemoryContext())


def test_memory_grows_with_the_volume(scene):
    tomogram, _ = scene
    larger = replace(tomogram, volume=np.zeros((160, 128, 144), np.float32))
    params = PickByTemplateParams()
    assert bytes_needed(larger, params) > bytes_needed(tomogram, params) > 500_000_000
