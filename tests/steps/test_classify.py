"""Particles return to the specimen they are, false picks are junk, and equal particles are not divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.steps.classify import ClassifyParams, classify
from makers.context import MemoryContext
from makers.mixed_scene import mixed_scene
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle

PARAMS = ClassifyParams(n_classes=2, resolution_angstrom=18.0)


def with_and_without(seed):
    """A particle, and the same without two of its nine lumps."""
    whole = lumpy_particle(np.random.default_rng(seed))
    kept = np.arange(len(whole.weights)) < 420
    return whole, replace(
        whole, points_xyz_angstrom=whole.points_xyz_angstrom[kept], weights=whole.weights[kept]
    )


def particles_of(scene) -> Particles:
    n = len(scene.rotations)
    rows = ParticleRows.of(
        "TS_1", scene.positions_xyz_angstrom, rotations=scene.rotations, half=1 + np.arange(n) % 2
    )
    return Particles("TS_1", ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=DIAMETER_ANGSTROM)


def labels_of(outputs, n):
    """Class of each particle, 0 where it was not passed on."""
    rows = outputs.main[0].rows()
    labels = np.zeros(n, int)
    labels[rows.particle - 1] = rows.class_number
    return labels


def purity(labels, kind):
    """Part of the particles that are in the class that is mostly their kind, one class to one kind."""
    same = np.mean((labels == 1) == (kind == 0))
    return max(same, 1.0 - same)


def test_particles_with_and_without_a_part_are_distinguished():
    models = with_and_without(3)
    scene, kind = mixed_scene(models, (14, 10), 5)
    context = MemoryContext()
    found = classify((particles_of(scene),), PARAMS, context)
    labels = labels_of(found, len(kind))
    assert (labels > 0).all()
    assert purity(labels, kind) >= 0.95
    assert context.figures["difference_evidence"] > 0.3
    assert context.figures["certainty"] > 0.9
    sizes = [row["particles"] for row in context.records["classes"]]
    assert sizes[0] >= sizes[1]
    assert sizes[2] == 0
    one, two = found.others["averages"]
    assert one.n_particles == sizes[0]
    # What the classes differ in is the part.
    apart = np.asarray(one.map) - np.asarray(two.map)
    sign = 1.0 if np.mean(kind[labels == 1]) < 0.5 else -1.0
    n, voxel = apart.shape[0], one.voxel_size_angstrom
    part = true_map(models[0], n, voxel) - true_map(models[1], n, voxel)
    mask = np.asarray(one.mask) > 0.5
    assert np.corrcoef(sign * apart[mask], part[mask])[0, 1] > 0.7


def test_false_picks_are_junk_and_classes_may_be_chosen():
    models = with_and_without(3)
    scene, kind = mixed_scene(models, (16, 0), 6)
    rng = np.random.default_rng(7)
    nothing = scene.positions_xyz_angstrom[:6] + np.array([0.0, 0.0, 260.0])
    scene = replace(
        scene,
        positions_xyz_angstrom=np.concatenate([scene.positions_xyz_angstrom, nothing]),
        rotations=np.concatenate([scene.rotations, scene.rotations[rng.permutation(6)]]),
    )
    context = MemoryContext()
    one = PARAMS.model_copy(update={"n_classes": 1, "keep": (1,)})
    labels = labels_of(classify((particles_of(scene),), one, context), len(kind) + 6)
    assert (labels[: len(kind)] == 1).mean() > 0.9
    assert (labels[len(kind) :] == 1).mean() < 0.4
    assert "difference_evidence" in context.reasons_not_measurable


def test_equal_particles_have_no_evidence_of_classes():
    models = with_and_without(3)
    scene, _ = mixed_scene(models, (24, 0), 8)
    context = MemoryContext()
    doubted = replace(particles_of(scene), pose_doubt="shells do not tell")
    found = classify((doubted,), PARAMS.model_copy(update={"junk": False}), context)
    assert context.figures["difference_evidence"] < 0.2
    # Poses stay, and so does what is known of them.
    assert found.main[0].pose_doubt == "shells do not tell"
    average = found.others["averages"][0]
    assert average.pose_doubt == "shells do not tell"
    assert "refine the particles of the class" in average.resolution_note


def test_particles_in_doubt_are_divided_without_junk():
    """Other particles among them, at orientations that mean nothing, are a class and take none of the right.

    Whichever kind looks more like a shell would otherwise be junk, and not be passed on.
    """
    models = [lumpy_particle(np.random.default_rng(seed)) for seed in (3, 8)]
    scene, kind = mixed_scene(models, (12, 12), 11)
    rotations = scene.rotations.copy()
    rotations[kind == 1] = Rotation.random(12, np.random.default_rng(1)).as_matrix()
    doubted = replace(particles_of(replace(scene, rotations=rotations)), pose_doubt="other particles")
    context = MemoryContext()
    labels = labels_of(classify((doubted,), PARAMS, context), len(kind))
    assert (labels > 0).all()
    assert "junk_percent" in context.reasons_not_measurable
    assert purity(labels, kind) >= 0.9
    with pytest.raises(UserInputError, match="there are classes 1 to 2"):
        classify((doubted,), PARAMS.model_copy(update={"keep": (3,)}), context)


def test_given_maps_say_which_class_is_which(tmp_path):
    models = with_and_without(3)
    scene, kind = mixed_scene(models, (10, 12), 9)
    paths = []
    for i, model in enumerate(models):
        paths.append(tmp_path / f"state_{i}.mrc")
        write_mrc(paths[-1], true_map(model, 40, 6.0), 6.0)
    params = ClassifyParams(references=tuple(paths), resolution_angstrom=18.0)
    labels = labels_of(classify((particles_of(scene),), params, MemoryContext()), len(kind))
    assert purity(labels, kind) >= 0.95


def test_what_cannot_be_divided_is_reported(tmp_path, context):
    models = with_and_without(3)
    scene, _ = mixed_scene(models, (8, 0), 8)
    particles = particles_of(scene)
    with pytest.raises(DataUnfitError, match="too few for 5 classes"):
        classify((particles,), ClassifyParams(n_classes=5), context)
    with pytest.raises(UserInputError, match="keep names the classes"):
        classify((particles,), ClassifyParams(keep=(7,)), context)
    with pytest.raises(UserInputError, match="does not exist"):
        classify((particles,), ClassifyParams(references=(tmp_path / "no.mrc",)), context)
    with pytest.raises(UserInputError, match="diameter is not known"):
        classify((replace(particles, diameter_angstrom=None),), ClassifyParams(), context)
