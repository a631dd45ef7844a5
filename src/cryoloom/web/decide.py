"""Decisions sent by the browser: each kind has its model, and its subject must exist."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries
from cryoloom.store.decisions import Author, Change, Decision
from cryoloom.web.drawn.slab_frames import slab_in_poses
from cryoloom.web.project_view import ProjectView

__all__ = ["DecisionRequest", "decide", "decision_text"]

_LONGEST_TEXT = 2000
"""Chosen: longest reason or comment, in characters."""
_PAGE = r"^[a-z/ -]{0,40}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Keep(_Frozen):
    keep: bool


class TiltChange(_Frozen):
    """Keep or exclude a tilt."""

    kind: Literal["tilt"]
    item: str
    target: int = Field(ge=0)
    value: _Keep


class SeriesChange(_Frozen):
    """Keep or exclude a series."""

    kind: Literal["series"]
    item: str
    value: _Keep


class CommentChange(_Frozen):
    """A note on a series, or on a run (``run:N``)."""

    kind: Literal["comment"]
    item: str
    value: str = Field(max_length=_LONGEST_TEXT)


class SlabLimits(_Frozen):
    """Manual limits of the specimen, in angstrom from the volume's centre."""

    thickness_angstrom: float = Field(gt=0, lt=1e5)
    z_offset_angstrom: float = Field(gt=-1e5, lt=1e5)
    tilt_x_deg: float = Field(0.0, gt=-45, lt=45)
    tilt_y_deg: float = Field(0.0, gt=-45, lt=45)
    run: int | None = None
    """Run of the tomogram in which the slab was drawn; None for the frame of the poses."""


class SlabChange(_Frozen):
    """Position of the specimen of a series."""

    kind: Literal["slab"]
    item: str
    value: SlabLimits


class VariantChange(_Frozen):
    """The preferred tomogram of a series: the run that made it."""

    kind: Literal["variant"]
    item: str
    value: int


_SET_AND_NUMBER = r"^[^/\x00-\x1f]{1,60}/[A-Za-z0-9-]{1,40}$"
Coordinate = Annotated[float, Field(gt=-1e6, lt=1e6)]
Place = tuple[Coordinate, Coordinate, Coordinate]


class PickChange(_Frozen):
    """A point of a set of picks, xyz in angstrom from the volume's centre; None removes it."""

    kind: Literal["pick"]
    item: str
    target: str = Field(pattern=_SET_AND_NUMBER)
    value: Place | None


class ModelValue(_Frozen):
    """A surface or filament, given by the points of its fit; positions on it follow from these."""

    shape: Literal["sphere", "ellipsoid", "filament", "membrane"]
    points: tuple[Place, ...] = Field(min_length=2, max_length=2000)
    spacing_angstrom: float = Field(100.0, gt=1, lt=1e5)
    inwards: bool = False


class ModelChange(_Frozen):
    """A model of a set of picks; None removes it."""

    kind: Literal["model"]
    item: str
    target: str = Field(pattern=_SET_AND_NUMBER)
    value: ModelValue | None


class TrackValue(_Frozen):
    """Position of a bead in an image, xy in angstrom from the image centre; None if it is not visible."""

    x_angstrom: Coordinate | None
    y_angstrom: Coordinate | None


class TrackChange(_Frozen):
    """A manual position of a track; None restores the tracked position."""

    kind: Literal["track"]
    item: str
    target: str = Field(pattern=r"^\d{1,6}/\d{1,4}$")
    """Track and acquisition index."""
    value: TrackValue | None


Change_ = Annotated[
    TiltChange
    | SeriesChange
    | CommentChange
    | SlabChange
    | VariantChange
    | PickChange
    | ModelChange
    | TrackChange,
    Field(discriminator="kind"),
]


class DecisionRequest(_Frozen):
    """Several changes that are recorded and undone together."""

    changes: tuple[Change_, ...] = Field(min_length=1, max_length=500)
    why: str = Field("", max_length=_LONGEST_TEXT)
    page: str = Field("", pattern=_PAGE)


def decide(project: ProjectView, request: DecisionRequest, who: str, role: str) -> tuple[Decision, ...]:
    """Record decisions. Raises UserInputError if a series or tilt does not exist."""
    tilts: dict[str, frozenset[int]] = {}
    changes = []
    for change in request.changes:
        target = ""
        if isinstance(change, TiltChange):
            if change.item not in tilts:
                tilts[change.item] = project.acquisition_indices(change.item)
            if change.target not in tilts[change.item]:
                raise UserInputError(
                    f"{change.item} has no tilt of acquisition index {change.target}; "
                    f"expected one of {', '.join(map(str, sorted(tilts[change.item])))}"
                )
            target = str(change.target)
        elif not (isinstance(change, CommentChange) and change.item.startswith("run:")):
            project.require_series(change.item)
            target = getattr(change, "target", "")
        value: Any = change.value.model_dump() if isinstance(change.value, BaseModel) else change.value
        if isinstance(change, SlabChange):
            value = slab_in_poses(value, _series_of_tomogram(project, change.item, change.value.run))
        changes.append(Change(change.kind, change.item, target, value))
    return project.decide(changes, Author(who, role, f"web: {request.page}"), request.why)


def _series_of_tomogram(project: ProjectView, name: str, run_id: int | None) -> TiltSeries | None:
    """The series from which a tomogram was made; None if no run is given."""
    if run_id is None:
        return None
    made = [one.tomogram for one in project.series(name).tomograms if one.run.id == run_id]
    if not made:
        raise UserInputError(f"run {run_id} has no tomogram of {name}; load the page again")
    return made[0].series


def decision_text(decision: Decision) -> str:
    """A decision as text."""
    value = decision.value
    why = f": {decision.why}" if decision.why else ""
    if decision.undoes is not None:
        return f"undid decision {decision.undoes}"
    if decision.kind == "tilt" and isinstance(value, dict):
        return f"{'kept' if value['keep'] else 'left out'} tilt {decision.target} of {decision.item}{why}"
    if decision.kind == "series" and isinstance(value, dict):
        return f"{'kept' if value['keep'] else 'left out'} {decision.item}{why}"
    if decision.kind == "slab" and isinstance(value, dict):
        return f"slab of {decision.item}: {value['thickness_angstrom'] / 10:.0f} nm thick"
    if decision.kind in {"pick", "model", "track"}:
        verb = "took away" if value is None else "set"
        return f"{verb} {decision.kind} {decision.target} of {decision.item}"
    if decision.kind == "comment":
        return f"note on {decision.item}: {value}"
    return f"{decision.kind} of {decision.item} {decision.target}".rstrip()
