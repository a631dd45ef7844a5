"""From picks to particles over HTTP: commands that are started, and outlines of averages."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from makers.browser import Served, client
from makers.web_project import MadeProject, add_average, add_particles

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def made(made_once: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    folder = tmp_path_factory.mktemp("copy") / "HIV session"
    shutil.copytree(made_once.folder, folder)
    return MadeProject(folder, made_once.truths)


def test_particles_of_a_tomogram_are_places_axes_and_scores(served: Served, made: MadeProject) -> None:
    truth = made.truths["TS_01"]
    item = add_particles(made.folder, truth)
    with client(served) as http:
        sets = http.get(f"{P}/tomo/TS_01/particles.json").json()
        assert [one["item"] for one in sets] == [item]
        facts = http.get(f"{P}/tomo/TS_01/particles/{item}.json").json()
        np.testing.assert_allclose(facts["places"], truth.beads_xyz_angstrom, atol=0.06)
        np.testing.assert_allclose(
            facts["axes"], np.tile([1.0, 0.0, 0.0], (len(facts["axes"]), 1)), atol=1e-3
        )
        assert facts["scores"][0] == 1.0
        assert http.get(f"{P}/tomo/TS_02/particles.json").json() == []
        without = http.get(f"{P}/tomo/TS_01/particles/{item}/outline.json")
        assert without.json()["error"].startswith("no map of these particles is known")
        add_average(made.folder, item)
        outline = http.get(f"{P}/tomo/TS_01/particles/{item}/outline.json").json()
    assert len(outline["rotations"]) == len(facts["places"])
    turned = np.array(outline["rotations"][0]).reshape(3, 3)
    np.testing.assert_allclose(turned @ [0, 0, 1], facts["axes"][0], atol=1e-3)
    reach = np.linalg.norm(outline["vertices"], axis=1)  # a hollow ball of 70 angstrom
    assert 60 < reach.max() < 95


def test_picks_that_are_not_there_cannot_be_used(served: Served) -> None:
    with client(served) as http:
        answer = http.post(f"{P}/picks/use", json={"set": "nothing", "run": 6})
        assert answer.status_code == 422
        assert "nothing" in answer.json()["error"]
        answer = http.post(f"{P}/slabs/use", json={})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("every slab that was set by hand is in use already")
