"""The runs of a project as a graph of cards, a list, a timeline, and pictures."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cryoloom.engine.history.results import sentence
from cryoloom.store.overview import Overview
from cryoloom.store.reading import WorkTime
from cryoloom.store.records import RunRecord
from cryoloom.web.graph_layout import CARD_HEIGHT_PX, CARD_WIDTH_PX, Placed, laid_out
from cryoloom.web.in_thread import InThread
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import fragment, page, project_of, site_of

__all__ = ["Card", "GraphView", "graph_of", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
VIEWS = ("graph", "list", "gallery", "time")
_SHORTEST_PERCENT = 0.3
"""Chosen: smallest visible width."""


@dataclass(frozen=True, slots=True)
class Card:
    """Card of one run."""

    run: RunRecord
    n_done: int
    n_failed: int
    n_left_out: int
    n_expected: int
    """Number of items of the input run; of the run itself if it has no input."""
    first_error: str
    is_current: bool
    place: Placed
    time: WorkTime | None
    """Time in which its items were made; None if there are none yet."""

    @property
    def n_items(self) -> int:
        """Number of finished items."""
        return self.n_done + self.n_failed + self.n_left_out

    @property
    def state(self) -> str:
        """State, which has its own symbol."""
        if self.run.state == "running":
            return "running"
        if self.n_failed or self.run.state == "failed":
            return "failed"
        return "stopped" if self.run.state == "stopped" else "done"

    @property
    def begin(self) -> datetime:
        """Start of the work."""
        return self.run.created if self.time is None else self.time.begin

    @property
    def end(self) -> datetime:
        """End of the work; the current time if it is running."""
        if self.run.state == "running":
            return max(datetime.now(UTC), self.begin)
        if self.time is None:
            return self.run.created  # nothing had to be done
        return self.time.end

    @property
    def duration_s(self) -> float:
        """Working time; since the start if it is running."""
        if self.run.state == "running" or self.time is None:
            return (self.end - self.begin).total_seconds()
        return self.time.busy_s

    @property
    def duration(self) -> str:
        """Working time as text."""
        seconds = self.duration_s
        if seconds < 10:
            return f"{seconds:.1f} s"
        if seconds < 100:
            return f"{seconds:.0f} s"
        minutes = round(seconds / 60)
        return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass(frozen=True, slots=True)
class GraphView:
    """All cards, the lines between them, and the size of the picture."""

    cards: tuple[Card, ...]
    edges: tuple[tuple[Card, Card], ...]
    width_px: int
    height_px: int
    first_error: tuple[Card, str] | None

    def path(self, edge: tuple[Card, Card]) -> str:
        """A smooth line from the right side of a card to the left side of another."""
        x0, y0 = edge[0].place.x + CARD_WIDTH_PX, edge[0].place.y + CARD_HEIGHT_PX // 2
        x1, y1 = edge[1].place.x, edge[1].place.y + CARD_HEIGHT_PX // 2
        middle = (x0 + x1) // 2
        return f"M{x0} {y0} C{middle} {y0} {middle} {y1} {x1} {y1}"

    @property
    def begin(self) -> str:
        """Start of the first run."""
        return f"{min(card.begin for card in self.cards):%Y-%m-%d %H:%M} UTC" if self.cards else ""

    @property
    def end(self) -> str:
        """End of the last run, or the current time."""
        return f"{max(card.end for card in self.cards):%Y-%m-%d %H:%M} UTC" if self.cards else ""

    def spans(self) -> list[tuple[Card, float, float]]:
        """Start and length of every card in percent of the total time; short ones get a visible width."""
        if not self.cards:
            return []
        begin = min(card.begin for card in self.cards)
        whole = (max(card.end for card in self.cards) - begin).total_seconds() or 1.0
        return [
            (
                card,
                min(100 * (card.begin - begin).total_seconds() / whole, 100 - _SHORTEST_PERCENT),
                max(100 * (card.end - card.begin).total_seconds() / whole, _SHORTEST_PERCENT),
            )
            for card in self.cards
        ]


def graph_of(overview: Overview, current: frozenset[int]) -> GraphView:
    """Cards of all runs. current : runs with valid results."""
    inputs = {run.id: run.input_run_ids for run in overview.runs}
    places = laid_out(inputs)
    total = {run.id: sum(overview.counts.get(run.id, {}).values()) for run in overview.runs}
    errors: dict[int, str] = {}
    for failure in overview.failures:
        errors.setdefault(failure.run_id, f"{failure.name}: {sentence(failure.error) or 'failed'}")
    cards = {}
    for run in overview.runs:
        counts = overview.counts.get(run.id, {})
        fed = overview.counts.get(run.input_run_id or 0, {}).get("done", 0)
        cards[run.id] = Card(
            run,
            counts.get("done", 0),
            counts.get("failed", 0),
            counts.get("left_out", 0),
            max(fed, total[run.id]),
            errors.get(run.id, ""),
            run.id in current,
            places[run.id],
            overview.times.get(run.id),
        )
    edges = tuple(
        (cards[source], cards[run.id])
        for run in overview.runs
        for source in run.input_run_ids
        if source in cards
    )
    first = next(((card, card.first_error) for card in cards.values() if card.first_error), None)
    return GraphView(
        tuple(cards.values()),
        edges,
        max((place.x for place in places.values()), default=0) + CARD_WIDTH_PX + 4,
        max((place.y for place in places.values()), default=0) + CARD_HEIGHT_PX + 4,
        first,
    )


def _free_text(project: ProjectView) -> str:
    """Free space on the project's disk; "" if it is not known."""
    try:
        free = shutil.disk_usage(project.folder).free
    except OSError:
        return ""
    return f"{free / 1e12:.1f} TB free" if free >= 1e12 else f"{free / 1e9:.0f} GB free"


def _values(request: Request, project: ProjectView) -> dict[str, Any]:
    overview = project.overview()
    is_known = project.is_known()  # the first page does not wait for thousands of series
    current = project.current_runs() if is_known else overview.runs
    wanted = request.query_params.get("view", "graph")
    pictures = {}
    if wanted == "gallery":
        found = {run.id: project.picture_of(run) for run in overview.runs}
        pictures = {
            run: f"/p/{project.slug}/image/{at.item}/{at.role}/thumb.jpg?s=240"
            for run, at in found.items()
            if at
        }
    index = site_of(request).review(project).known() if is_known else {}
    return {
        "graph": graph_of(overview, frozenset(run.id for run in current)),
        "view": wanted if wanted in VIEWS else "graph",
        "views": VIEWS,
        "pictures": pictures,
        "free": _free_text(project),
        "n_series": len(project.series_names()) if is_known else None,
        "n_open": sum(one.n_open for one in index.values()),
        "n_outdated": len(project.outdated()) if is_known else 0,
        "card_width_px": CARD_WIDTH_PX,
        "card_height_px": CARD_HEIGHT_PX,
    }


@router.get("")
def graph_page(request: Request) -> Response:
    """Page of all runs."""
    project = project_of(request)
    return page(request, "graph", name="graph", project=project, **_values(request, project))


@router.get("/graph.html")
def graph_fragment(request: Request) -> HTMLResponse:
    """The cards only, for updates of the page."""
    project = project_of(request)
    return fragment(request, "graph_cards", project=project, **_values(request, project))
