"""What is doubted of a tilt: the planted faults, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Tilt, TiltSeries
from cryoloom.web.site import Site
from cryoloom.web.tilt_flags import CTF_REASON, Flag, judged_tilts, judged_tilts_of, tilt_facts
from makers.web_project import BAD_CTF, DARK, MISPLACED, SHIFTED


def test_planted_faults_are_flagged_and_nothing_else(site: Site) -> None:
    project = site.project("HIV-session")
    flagged = {
        (name, tilt.row.acquisition_index): tilt.flag.reason
        for name in project.series_names()
        for tilt in judged_tilts_of(project.series(name))
        if tilt.flag is not None
    }
    misplaced = (MISPLACED[0], MISPLACED[2])
    assert flagged == {DARK: 1, SHIFTED: 2, BAD_CTF: 5, misplaced: 6}


def series_of(changes: dict[int, dict[str, Any]], n: int = 11) -> TiltSeries:
    """A series with a good fit and a small residual everywhere, but for changes by acquisition index."""
    tilts = tuple(
        Tilt(
            i, 6.0 * i - 30, 3.0 * i, 3.0 * i + 3, section=i,
            ctf=Ctf(30000.0, 29800.0, 10.0, fit_resolution_angstrom=8.0),
            pose=Pose(85.0, 6.0 * i - 30, residual_angstrom=5.0),
        )
        for i in range(n)
    )  # fmt: skip
    return TiltSeries("TS_01", Microscope(), 2.0, tilts).with_tilts(changes)


def flags_of(found: TiltSeries, decided: TiltSeries | None = None, **more: Any) -> dict[int, Flag]:
    judged = judged_tilts(decided or found, found, more.get("quality"), more.get("overridden", frozenset()))
    return {one.row.acquisition_index: one.flag for one in judged if one.flag is not None}


def test_what_follows_its_neighbours_is_not_doubted() -> None:
    trend = {i: {"ctf": Ctf(30000.0 + 2000 * i, 30000.0 + 2000 * i, 0.0)} for i in range(11)}
    assert flags_of(series_of({})) == {}
    assert flags_of(series_of(trend)) == {}


def test_a_fit_far_from_its_neighbours_or_coarse_and_a_large_residual_are_doubted() -> None:
    found = flags_of(
        series_of(
            {
                3: {"ctf": Ctf(36000.0, 36000.0, 0.0, fit_resolution_angstrom=8.0)},
                5: {"ctf": Ctf(30000.0, 29800.0, 10.0, fit_resolution_angstrom=20.0)},
                8: {"pose": Pose(85.0, 18.0, residual_angstrom=40.0)},
            }
        )
    )
    assert {index: flag.reason for index, flag in found.items()} == {3: CTF_REASON, 5: CTF_REASON, 8: 6}
    assert found[3].text == "defocus 0.61 µm from that of its neighbours"
    assert found[5].text == "CTF fits to 20 Å only, others to 8 Å"
    assert found[8].text == "residual 40 Å, others 5 Å"
    assert all(flag.severity > 1 for flag in found.values())
    assert found[8].severity == pytest.approx(40 / 15)


def test_what_a_step_left_out_is_worse_than_any_doubt_of_figures() -> None:
    changes = {
        2: {"exclusion": Exclusion.by_step("dark: a tenth of its neighbours", "select_tilts", figure=0.1)},
        4: {"exclusion": Exclusion.by_step("shifted", "select_tilts", figure=0.4)},
        6: {"exclusion": Exclusion.by_user("ice")},
    }
    found = flags_of(series_of(changes))
    assert {index: flag.reason for index, flag in found.items()} == {2: 1, 4: 2}
    assert found[2].severity == pytest.approx(10.9)
    assert found[4].severity == pytest.approx(10.4)


def test_few_tilts_have_no_usual_value() -> None:
    assert flags_of(series_of({1: {"ctf": Ctf(90000.0, 90000.0, 0.0)}}, n=4)) == {}


def test_a_users_decision_closes_a_doubt_either_way() -> None:
    found = series_of({2: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    kept = found.with_tilts({2: {"exclusion": None}})
    quality = {"acquisition_index": [2, 3], "mean_counts": [1.5, 9.0], "shift_fraction": [None, 0.1]}
    judged = {one.row.acquisition_index: one for one in judged_tilts(kept, found, quality, frozenset({2}))}
    assert judged[2].flag is not None
    assert not judged[2].is_open
    assert judged[2].is_kept_by_user
    assert judged[2].mean_counts == 1.5
    assert (judged[3].mean_counts, judged[3].shift_fraction) == (9.0, 0.1)
    assert judged[4].mean_counts is None
    facts = tilt_facts(judged[2])
    assert (facts["excluded"], facts["kept"], facts["by_user"], facts["is_open"]) == (
        False,
        True,
        True,
        False,
    )
    still = judged_tilts(found, found, None, frozenset())[2]
    assert still.is_open
