"""Particles and volumes for the files of picking programs."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.model import ParticleRows

VOXEL = 7.84
# Even and odd sides: the centre is index n // 2 of both.
VOLUMES = {"TS_03": PickVolume((250, 401, 398), VOXEL), "TS_17": PickVolume((251, 400, 399), VOXEL)}


def some_particles(rng):
    n = 7
    rotations = Rotation.random(n, rng).as_matrix()
    rotations[0] = np.eye(3)
    return ParticleRows(
        tomogram=np.array(["TS_03"] * 4 + ["TS_17"] * 3),
        particle=np.array([1, 2, 3, 4, 11, 12, 13]),
        positions_xyz_angstrom=rng.uniform(-900, 900, (n, 3)),
        rotations=rotations,
        prior_directions=rotations[:, :, 2],
        prior_width_deg=np.full(n, 10.0),
        surface=np.array([1, 1, 2, 2, 1, 1, 3]),
        score=np.round(rng.uniform(0, 1, n), 4),
        half=np.array([1, 2, 1, 2, 1, 2, 1]),
        class_number=np.array([1, 2, 3, 1, 2, 3, 1]),
        others={"note": np.array(list("abcdefg"))},
    )
