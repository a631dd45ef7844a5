import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import UserInputError
from cryoloom.simulate.particles import builtin_models, model_from_file


def test_builtin_shell_is_hollow_and_of_ferritins_size(rng):
    shell, _ = builtin_models(0.022, rng)
    distance = np.linalg.norm(shell.points_xyz_angstrom, axis=1)
    assert distance.min() > 25
    assert 55 < distance.max() < 80
    # 24 equal parts: the centre of mass is the centre and the inertia is the same along every axis.
    assert_allclose(shell.points_xyz_angstrom.mean(axis=0), 0, atol=1e-3)
    inertia = np.cov(shell.points_xyz_angstrom.T)
    assert_allclose(inertia, inertia[0, 0] * np.eye(3), atol=1e-2 * inertia[0, 0])


def test_builtin_two_domains_has_no_symmetry_and_a_ribosomes_size(rng):
    _, big = builtin_models(0.022, rng)
    moments = np.linalg.eigvalsh(np.cov(big.points_xyz_angstrom.T))
    assert moments[2] > 1.5 * moments[0]
    assert 100 < big.radius_angstrom < 260


def test_weights_scale_with_the_peak(rng):
    one, two = (builtin_models(peak, np.random.default_rng(1))[0] for peak in (0.01, 0.02))
    assert_allclose(two.weights, 2 * one.weights, rtol=1e-6)


def test_atomic_model(data):
    model = model_from_file(data / "models" / "4v1w.cif.gz", 0.022)
    assert model.species == "4v1w"
    distance = np.linalg.norm(model.points_xyz_angstrom, axis=1)
    # Ferritin: a shell of 120 A across; 24 chains of about 170 residues, two points a residue.
    assert 60 < distance.max() < 75
    assert np.percentile(distance, 2) > 30
    assert 24 * 250 < len(distance) < 24 * 400


def test_missing_model_is_reported(tmp_path):
    with pytest.raises(UserInputError, match="no atomic model"):
        model_from_file(tmp_path / "nothing.cif", 0.022)
