"""Particle sets by tomogram, and the commands of an average."""

from __future__ import annotations

import httpx
import pytest

from cryoloom.web.pages.particles import AverageRequest, averaging_commands, particle_set_facts
from makers.browser import Served
from makers.web_project import MadeProject, add_particles

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def particles(made: MadeProject) -> int:
    return add_particles(made.folder, made.truths["TS_01"])


def test_a_set_is_counted_by_tomogram(served: Served, made: MadeProject, particles: int) -> None:
    (one,) = particle_set_facts(served.site.project("HIV-session"))
    n = len(made.truths["TS_01"].beads_xyz_angstrom)
    assert (one["node"], one["n"], one["species"], one["diameter_angstrom"]) == (
        "pick_blobs",
        n,
        "bead",
        150.0,
    )
    assert one["items"] == [{"item": particles, "name": "TS_01", "n": n}]
    assert one["given_as"] == str(one["run"])


def test_an_average_is_a_first_map_a_refinement_and_what_follows() -> None:
    chain = averaging_commands(AverageRequest(input="9", symmetry="C6", diameter_angstrom=350))
    assert [title for title, _ in chain] == ["first map", "refine", "postprocess"]
    settings = ["--set", "symmetry=C6", "--set", "diameter_angstrom=350"]
    assert chain[0][1] == ["run", "initial_model", "--project", ".", "--input", "9", *settings]
    assert chain[1][1] == ["run", "refine", "--project", ".", "--input", "initial_model.particles", *settings]
    with_map = averaging_commands(AverageRequest(input="9.particles", start_from="map"))
    assert with_map[0][1] == [
        "run", "refine", "--project", ".", "--input", "9.particles", "--set", "symmetry=C1",
    ]  # fmt: skip
    (only,) = averaging_commands(AverageRequest(input="9", start_from="as they lie"))
    assert only[1][1] == "reconstruct_particle"


def test_requests_that_could_be_commands_are_refused(served: Served) -> None:
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        for wanted in (
            {"input": "9; rm -rf /"},
            {"input": "9", "symmetry": "C1 --set x=1"},
            {"input": "--help"},
            {"input": "9", "start_from": "/etc/passwd"},
        ):
            assert http.post(f"{P}/particles/average", json=wanted).status_code == 422
        assert http.post(f"{P}/particles/cut", json={"input": "9", "min_score": "x"}).status_code == 422
