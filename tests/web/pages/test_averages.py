"""Averages: the crossing of the curve, directions and scores of the particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.model import ParticleRows
from cryoloom.web.pages.averages import crossing_angstrom, particle_facts
from makers.web_project import average_of


def test_the_crossing_is_read_off_the_curve(tmp_path: Path) -> None:
    assert crossing_angstrom(average_of(tmp_path)) == pytest.approx(20.0, rel=0.01)


def test_directions_are_counted_by_equal_solid_angles(rng: np.random.Generator) -> None:
    """Even directions are one everywhere; a crowd about +x stands where x is."""
    even = rng.standard_normal((200_000, 3))
    rows = ParticleRows.of("TS_01", np.zeros((len(even), 3)), rotations=z_axis_to(even))
    density = np.array(particle_facts(rows)["directions"])
    assert density.shape == (18, 36)
    np.testing.assert_allclose(density, 1.0, atol=0.3)  # 309 a bin: 5 standard deviations
    crowd = ParticleRows.of(
        "TS_02", np.zeros((50, 3)), rotations=z_axis_to(np.tile([1.0, 0.01, 0.01], (50, 1)))
    )
    facts = particle_facts(crowd)
    density = np.array(facts["directions"])
    assert np.unravel_index(np.argmax(density), density.shape) == (
        9,
        18,
    )  # just above the equator and 0 degrees
    assert (facts["series"], facts["scores"]) == ([["TS_02", 50]], None)
