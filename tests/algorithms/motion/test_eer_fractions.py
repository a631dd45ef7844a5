"""EER fractions: a facility's published recipe is reproduced, in both units."""

from __future__ import annotations

import pytest

from cryoloom.algorithms.motion.eer_fractions import eer_frames_per_fraction
from cryoloom.errors import UserInputError


@pytest.mark.parametrize(
    ("n_frames", "target", "unit", "expected"),
    [
        (308, 0.5, "e/px", 12),  # oracle: the recipe's own numbers for its two sessions
        (350, 0.5, "e/px", 14),
        (308, 0.5, "e/A^2", 44),
        (308, 0.001, "e/A^2", 1),
        (308, 10.0, "e/A^2", 308),
    ],
)
def test_frames_per_fraction(n_frames, target, unit, expected):
    assert eer_frames_per_fraction(n_frames, 3.5, target, unit, 1.91) == expected


def test_needs_a_dose():
    with pytest.raises(UserInputError, match="dose of an EER movie must be positive, got 0"):
        eer_frames_per_fraction(308, 0.0, 0.5, "e/A^2", 1.91)
