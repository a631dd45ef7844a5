"""The order of acquisition: sources present, missing, constant, contradicting and crossed."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.acquisition_order import OrderSource, decide_order

TILTS = (0.0, 3.0, -3.0, -6.0, 6.0)
"""In order of acquisition, which is that of the file unless a test sorts it."""
TRUE = (0.0, 1.0, 2.0, 3.0, 4.0)
CONSTANT = (7.0,) * 5
BY_ANGLE = (2.0, 3.0, 1.0, 0.0, 4.0)
"""Ranks of the angles: what sorting makes of times and names."""
CROSSED = (0.0, 2.0, 1.0, 3.0, 4.0)
NAMES = [f"image {i}" for i in range(5)]


def decided(scheme=None, tilts=TILTS, **sources):
    strong = [
        OrderSource(name, tuple(sources.get(name, (None,) * 5)))
        for name in ("DateTime", "numbers", "PriorDose")
    ]
    return decide_order(tilts, strong, NAMES, scheme=scheme)


@pytest.mark.parametrize(
    ("sources", "used", "order", "noted"),
    [
        ({"DateTime": TRUE}, "DateTime", TRUE, False),
        ({"numbers": TRUE}, "numbers", TRUE, False),
        ({"PriorDose": TRUE}, "PriorDose", TRUE, False),
        ({"DateTime": CONSTANT, "numbers": TRUE}, "numbers", TRUE, False),
        ({"DateTime": CONSTANT, "PriorDose": TRUE}, "PriorDose", TRUE, False),
        ({"DateTime": TRUE, "numbers": CONSTANT, "PriorDose": CONSTANT}, "DateTime", TRUE, False),
        # Names and times that follow the angles were made by sorting.
        ({"DateTime": TRUE, "numbers": BY_ANGLE}, "DateTime", TRUE, True),
        ({"DateTime": BY_ANGLE, "numbers": TRUE}, "numbers", TRUE, True),
        ({"DateTime": BY_ANGLE, "numbers": TRUE, "PriorDose": TRUE}, "numbers", TRUE, True),
        # Two agree against one.
        ({"DateTime": CROSSED, "numbers": TRUE, "PriorDose": TRUE}, "numbers", TRUE, True),
        ({"DateTime": TRUE, "numbers": CROSSED, "PriorDose": TRUE}, "DateTime", TRUE, True),
        # One against one, and neither was sorted: the clock.
        ({"DateTime": TRUE, "numbers": CROSSED}, "DateTime", TRUE, True),
        # One has no time: its number, its dose, or its line places it.
        ({"DateTime": (0, 1, None, 3, 4), "numbers": TRUE}, "DateTime", TRUE, False),
        ({"DateTime": (0, 1, 2, 3, None), "PriorDose": TRUE}, "DateTime", TRUE, False),
        ({"DateTime": (0, 1, None, 3, 4)}, "DateTime", TRUE, False),
        # Two of one second are parted by another source.
        ({"DateTime": (0, 1, 1, 3, 4), "numbers": TRUE}, "DateTime", TRUE, False),
    ],
)
def test_which_source_decides(sources, used, order, noted):
    places, evidence = decided(**sources)
    assert places == [int(i) for i in order]
    assert evidence.used == used
    assert bool(evidence.note) is noted
    if noted:
        assert "give different orders" in evidence.note
        assert f"{evidence.used} is used" in evidence.note


def test_a_source_that_is_constant_says_so():
    _, evidence = decided(DateTime=CONSTANT, numbers=TRUE)
    (times,) = [source for source in evidence.sources if source.name == "DateTime"]
    assert times.why_not == "the same for all images"


def test_an_image_that_nothing_places_is_named():
    with pytest.raises(DataUnfitError, match="no source gives when image 2 was taken"):
        decided(tilts=tuple(sorted(TILTS)), DateTime=(3, 2, None, 1, 4))


def test_a_sorted_file_without_sources_is_refused_unless_the_user_tells_the_scheme():
    with pytest.raises(DataUnfitError, match="give scheme"):
        decided(tilts=tuple(sorted(TILTS)))
    places, evidence = decided("dose_symmetric", tilts=(-6.0, -3.0, 0.0, 3.0, 6.0))
    assert places == [2, 1, 3, 0, 4]
    assert evidence.used == "user"


def test_an_unsorted_file_without_sources_is_taken_in_its_order_and_noted():
    places, evidence = decided()
    assert places == [0, 1, 2, 3, 4]
    assert "taken to be acquired in the order of the file" in evidence.note


@pytest.mark.parametrize("seed", range(20))
def test_the_order_does_not_depend_on_that_of_the_file(seed):
    """Shuffle the lines, lose half of the times: numbers and prior doses place the rest."""
    rng = np.random.default_rng(seed)
    n = 11
    tilts = rng.permutation(np.arange(n) * 3.0 - 15)
    lines = rng.permutation(n)
    times = [float(i) if rng.random() < 0.5 else None for i in lines]
    sources = [
        OrderSource("DateTime", tuple(times)),
        OrderSource("numbers", tuple(float(i) for i in lines)),
    ]
    order, evidence = decide_order(tilts[lines].tolist(), sources, [str(i) for i in lines])
    assert [int(lines[i]) for i in order] == list(range(n))
    assert not evidence.note
