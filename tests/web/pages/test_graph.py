"""The graph of runs: what its cards count, and the first error."""

from __future__ import annotations

from cryoloom.web.pages.graph import graph_of
from cryoloom.web.site import Site
from makers.web_project import HOSTILE


def test_cards_count_and_say_the_first_error(site: Site) -> None:
    project = site.project("HIV-session")
    graph = graph_of(project.overview(), frozenset())
    by_node = {card.run.node: card for card in graph.cards}
    aligned = by_node["align_series"]
    assert (aligned.n_done, aligned.n_failed, aligned.n_expected, aligned.state) == (4, 1, 5, "failed")
    assert aligned.first_error == f"{HOSTILE}: no tilt within 10 deg of zero is left"
    assert graph.first_error is not None
    assert graph.first_error[0].run.node == "align_series"
    assert len(graph.edges) == len(graph.cards) - 1
    assert by_node["import_movies"].duration == "2.0 s"  # of its items, all at once
    assert all(0 <= begin <= 100 and 0 < length <= 100 for _, begin, length in graph.spans())
