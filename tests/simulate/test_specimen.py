"""What is in the ice, and that it is where the truth says."""

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.specimen import make_specimen
from cryoloom.simulate.stage import tilt_truths

MEMBRANES_ONLY = {
    "tilt_min_deg": -30, "tilt_max_deg": 30, "tilt_step_deg": 30, "image_shape_yx": (300, 300),
    "n_particles": 0, "n_vesicles": 0, "n_beads": 0, "crowd_phase_rad": 0.0, "n_membranes": 4,
}  # fmt: skip


def test_membranes_are_two_flat_leaflets_36_angstrom_apart(rng):
    params = SimulationParams(**MEMBRANES_ONLY)
    specimen = make_specimen(params, tilt_truths(params, rng), rng)
    assert len(specimen.membranes) >= 4
    clouds = specimen.clouds
    for i, membrane in enumerate(specimen.membranes):
        points = clouds.points[slice(*clouds.spans[i])] @ clouds.rotations[i].T + clouds.centres[i]
        height = (points - membrane.centre_xyz_angstrom) @ np.array(membrane.normal_xyz)
        assert_allclose(np.median(np.abs(height)), 18.0, atol=0.5)
        assert (np.abs(np.abs(height) - 18.0) < 5 * 3.0).all()  # heads are spread by 3 A rms
        # A leaflet delays by 0.006 rad per 2.7 A over 10 A: density times weight of its lipids.
        assert_allclose(clouds.weights[slice(*clouds.spans[i])], 0.006 / 2.7 * 10 * 65, rtol=1e-5)


def test_membranes_end_with_the_ice_and_leave_particles_alone(rng):
    params = SimulationParams(**{**MEMBRANES_ONLY, "n_beads": 20, "bead_diameter_angstrom": 300.0})
    specimen = make_specimen(params, tilt_truths(params, rng), rng)
    clouds = specimen.clouds
    for i in range(len(specimen.membranes)):
        points = clouds.points[slice(*clouds.spans[i])] @ clouds.rotations[i].T + clouds.centres[i]
        above = points @ specimen.normal - specimen.height_angstrom
        assert np.abs(above).max() <= 0.5 * params.thickness_angstrom + 0.1
        for bead in specimen.beads_xyz_angstrom:
            assert np.linalg.norm(points - bead, axis=1).min() > 149.0
