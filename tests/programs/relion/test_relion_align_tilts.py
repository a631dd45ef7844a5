"""RELION's alignment of tilts by particles: new shifts reach the tilts they belong to."""

from __future__ import annotations

import pytest

from cryoloom.programs.relion.relion_align_tilts import RelionAlignTiltsParams, relion_align_tilts
from makers.relion_stand_ins import ALIGN


def test_shifts_go_by_section(particles, average, context, stand_in):
    stand_in("relion_tomo_align", ALIGN)
    made = relion_align_tilts((particles,), RelionAlignTiltsParams(), context, average_from=(average,))
    before, (after,) = particles.series[0], made.series
    for i, (old, new) in enumerate(zip(before.included, after.included, strict=True)):
        x, y = old.pose.shift_xy_angstrom
        assert new.pose.shift_xy_angstrom == pytest.approx((x + 3.0 * (i + 1), y), abs=1e-5)
        assert new.pose.tilt_deg == pytest.approx(old.pose.tilt_deg, abs=1e-5)
    assert made.n_particles == 4
    assert context.figures["shift_change_angstrom"] == pytest.approx(3 * 11**0.5, rel=1e-4)
