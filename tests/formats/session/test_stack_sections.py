"""Which image of an mdoc is which section: sources agreeing, disagreeing, missing and incomplete."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.exposures import Exposure
from cryoloom.formats.session.stack_sections import AngleSource, match_sections

ORDER = (0.0, 10.0, -10.0, -20.0, 20.0, 30.0, -30.0)
SORTED = tuple(sorted(ORDER))


def exposures(tilts, first=0):
    """Images of an mdoc: ZValue counts up, the prior dose tells which image it is."""
    return [
        Exposure(tilt, section=first + i, prior_dose_per_angstrom2=3.0 * ORDER.index(tilt))
        for i, tilt in enumerate(tilts)
    ]


def matched(file=None, header=None, mdoc=None, bright=None, n=7, first=0, given=False):
    def brightness():
        if bright is None:
            raise AssertionError("the images are not asked")
        return np.array([100.0 * np.exp(-0.5 / np.cos(np.deg2rad(tilt))) for tilt in bright])

    return match_sections(
        "TS.mrc",
        n,
        None if file is None else AngleSource("TS.rawtlt", tuple(file), is_given=given),
        None if header is None else AngleSource("extended header", tuple(header)),
        None if mdoc is None else ("TS.mrc.mdoc", exposures(mdoc, first)),
        brightness,
    )


@pytest.mark.parametrize(
    ("sources", "sections", "used", "noted"),
    [
        ({"file": SORTED}, SORTED, "TS.rawtlt", False),
        ({"header": ORDER}, ORDER, "extended header", False),
        ({"mdoc": ORDER}, ORDER, "TS.mrc.mdoc", False),
        ({"mdoc": ORDER, "first": 1}, ORDER, "TS.mrc.mdoc", False),
        ({"file": SORTED, "mdoc": SORTED}, SORTED, "TS.rawtlt", False),
        ({"file": np.array(SORTED) + 9.3, "mdoc": SORTED}, np.array(SORTED) + 9.3, "TS.rawtlt", True),
        ({"file": [0.0] * 7, "mdoc": ORDER}, ORDER, "TS.mrc.mdoc", False),  # constant: says nothing
        ({"file": SORTED, "header": ORDER}, SORTED, "TS.rawtlt", True),
        # One was sorted and the other was not.
        ({"file": SORTED, "mdoc": ORDER, "header": SORTED}, SORTED, "TS.rawtlt", True),
        ({"file": SORTED, "mdoc": ORDER, "header": ORDER}, ORDER, "TS.mrc.mdoc", True),
        ({"file": SORTED, "mdoc": ORDER, "bright": SORTED}, SORTED, "TS.rawtlt", True),
        ({"file": SORTED, "mdoc": ORDER, "bright": ORDER}, ORDER, "TS.mrc.mdoc", True),
        ({"file": SORTED, "mdoc": ORDER, "given": True}, SORTED, "TS.rawtlt", True),
        # The stack lost two images.
        ({"file": SORTED[1:-1], "mdoc": ORDER, "n": 5}, SORTED[1:-1], "TS.rawtlt", True),
    ],
)
def test_sections(sources, sections, used, noted):
    tilts, images, _, evidence = matched(**sources)
    np.testing.assert_allclose(tilts, sections)
    assert evidence.used == used
    assert bool(evidence.note) is noted
    if "mdoc" in sources:
        nominal = np.round(np.subtract(sections, 9.3 if max(sections) > 35 else 0.0), 6)
        doses = [image.prior_dose_per_angstrom2 for image in images]
        assert doses == [3.0 * ORDER.index(tilt) for tilt in nominal]
        assert [image.section for image in images] == list(range(len(sections)))


def test_images_that_left_the_stack_are_given_back():
    _, _, removed, evidence = matched(file=SORTED[1:-1], mdoc=ORDER, n=5)
    assert sorted(image.tilt_deg for image in removed) == [-30.0, 30.0]
    assert "2 images of the mdoc are not in the stack" in evidence.note


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ({}, "no tilt angles are given for TS.mrc; expected TS.rawtlt"),
        ({"file": [3.0] * 7}, "those there are the same for all sections"),
        ({"mdoc": ORDER[:5]}, "TS.mrc.mdoc is for 5 images and TS.mrc has 7 sections"),
        ({"file": np.array(SORTED) * 1.7, "mdoc": ORDER}, "do not fit each other: section 0"),
        ({"file": SORTED, "mdoc": ORDER, "bright": [0.0] * 7}, "in different orders, and neither the header"),
    ],
)
def test_what_nothing_decides_is_refused(sources, says):
    with pytest.raises(DataUnfitError, match=says.replace("(", r"\(")):
        matched(**sources)


@pytest.mark.parametrize(
    ("offset", "says"), [(10.0, "shifted by one image"), (-14.0, "a tilt offset"), (2.0, "")]
)
def test_angles_that_are_off_by_one_number_are_noted(offset, says):
    _, _, _, evidence = matched(file=[tilt + offset for tilt in SORTED], mdoc=SORTED)
    assert (says in evidence.note) if says else evidence.note == ""


@pytest.mark.parametrize(("tilts", "noted"), [(SORTED, False), (np.deg2rad(SORTED), True)])
def test_angles_that_may_be_radians_are_noted(tilts, noted):
    _, _, _, evidence = matched(file=[float(tilt) for tilt in tilts])
    assert ("if they are radians, write degrees (30 deg)" in evidence.note) == noted
