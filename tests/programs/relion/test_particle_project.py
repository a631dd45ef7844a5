"""What RELION answers is matched by name and refused where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.programs.relion.particle_project import (
    PROJECT,
    gold_standard_curve,
    place_mask,
    place_project,
    place_reference,
    refined_particles,
)


def test_the_project_holds_particles_and_averages(particles, average, context, tmp_path):
    place_project((particles,), (average,), tmp_path, context)
    found = read_relion_particles(tmp_path / PROJECT)
    np.testing.assert_allclose(
        found.positions_xyz_angstrom, particles.rows().positions_xyz_angstrom, atol=1e-5
    )
    assert "averages/all_half1.mrc" in (tmp_path / PROJECT).read_text()
    assert any("note" in warning for warning in context.warnings)  # a column that RELION has no place for


def test_particles_that_relion_was_not_given(particles, context, tmp_path):
    place_project((particles,), (), tmp_path, context)
    star = tmp_path / "particles.star"
    star.write_text(star.read_text().replace("TS_01/3", "TS_01/33"))
    with pytest.raises(DataUnfitError, match="holds 4 particles, of which RELION was given 3"):
        refined_particles((particles,), star, context)
    star.write_text(star.read_text().replace("TS_01/33", "TS_01/1"))
    with pytest.raises(DataUnfitError, match="names particles twice"):
        refined_particles((particles,), star, context)


def test_files_that_are_not_there(particles, tmp_path):
    with pytest.raises(UserInputError, match=r"the mask .* is not there; correct mask of a_step"):
        place_mask(tmp_path / "mask.mrc", tmp_path / "m.mrc", "a_step")
    with pytest.raises(UserInputError, match=r"the reference .* is not there; correct reference of a_step"):
        place_reference((particles,), tmp_path / "map.mrc", tmp_path / "m.mrc", "a_step")
    (tmp_path / "run_model.star").write_text("data_model_general\n\n_rlnCurrentResolution 12.0\n")
    with pytest.raises(DataUnfitError, match="holds no correlation of halves"):
        gold_standard_curve(tmp_path / "run_model.star")
