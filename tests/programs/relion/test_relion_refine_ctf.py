"""RELION's CTF refinement: new defoci reach the tilts they belong to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.programs.relion.relion_refine_ctf import RelionRefineCtfParams, relion_refine_ctf
from makers.relion_stand_ins import REFINE_CTF


def test_defoci_go_by_section(particles, average, context, stand_in):
    stand_in("relion_tomo_refine_ctf", REFINE_CTF)
    made = relion_refine_ctf((particles,), RelionRefineCtfParams(), context, average_from=(average,))
    before, (after,) = particles.series[0], made.series
    for i, (old, new) in enumerate(zip(before.included, after.included, strict=True)):
        assert new.acquisition_index == old.acquisition_index
        assert new.ctf.defocus_u_angstrom == pytest.approx(old.ctf.defocus_u_angstrom + 100.0 * (i + 1))
    assert made.n_particles == 4
    # U alone grew, by 100 to 500 A, so the mean by half of it.
    assert context.figures["defocus_change_angstrom"] == pytest.approx(50 * 11**0.5, rel=1e-4)


def test_an_average_without_halves(particles, average, context):
    with pytest.raises(DataUnfitError, match="the average has no halves"):
        relion_refine_ctf(
            (particles,), RelionRefineCtfParams(), context, average_from=(replace(average, half1=None),)
        )
