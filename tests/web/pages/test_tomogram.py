"""A tomogram's facts: its slab, its picks, and what is made of them."""

from __future__ import annotations

import shutil

import httpx
import pytest

from cryoloom.web.drawn.drawn_parameters import changes_for_slabs
from cryoloom.web.pages.tomogram import slab_facts
from cryoloom.web.site import Site
from makers.browser import Served
from makers.web_project import (
    TOO_THIN_BY_ANGSTROM,
    MadeProject,
    add_particles,
    add_variant,
)

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def made(made_once: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    """A copy of the project in which TS_01 has two tomograms, and particles on its beads."""
    folder = tmp_path_factory.mktemp("copy") / "HIV session"
    shutil.copytree(made_once.folder, folder)
    add_variant(folder, made_once.truths["TS_01"])
    add_particles(folder, made_once.truths["TS_01"])
    return MadeProject(folder, made_once.truths)


def test_the_slab_is_the_users_word_or_what_was_measured(site: Site, made: MadeProject) -> None:
    view = site.project("HIV-session").series("TS_04")
    measured = slab_facts(view.series, None)
    assert measured is not None
    assert measured["thickness_angstrom"] == made.truths["TS_04"].thickness_angstrom - TOO_THIN_BY_ANGSTROM
    by_user = slab_facts(view.series, {"thickness_angstrom": 1200.0, "z_offset_angstrom": 0.0})
    level = {"tilt_x_deg": 0.0, "tilt_y_deg": 0.0}
    assert by_user == {"thickness_angstrom": 1200.0, "z_offset_angstrom": 0.0, "by": "user", **level}


def test_a_slab_by_hand_makes_its_tomogram_thick_enough(served: Served) -> None:
    project = served.site.project("HIV-session")
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        nothing = http.post(f"{P}/picks/use", json={"set": "none", "run": 6})
        assert nothing.status_code == 422
        assert "no picks" in nothing.json()["error"]
        slab = {"thickness_angstrom": 900.0, "z_offset_angstrom": 50.0, "run": 6}
        change = {"kind": "slab", "item": "TS_01", "value": slab}
        assert http.post(f"{P}/decide", json={"changes": [change]}).status_code == 200
        changes = changes_for_slabs(project.current_nodes(), project.decisions())
        assert [(c.item, c.target, c.value) for c in changes if c.item == "TS_01"] == [
            ("TS_01", "reconstruct.thickness_angstrom", 1400.0),
            ("TS_01", "reconstruct_sirt.thickness_angstrom", 1400.0),
        ]
        http.post(f"{P}/undo")
