"""One of our workflows as Scipion's: the rules of the import, applied backwards.

Each step becomes the protocol that does its work, with every parameter that has a counterpart: a conversion
is inverted by trying values, and a value is taken only if the import's own rule gives ours back. Scipion's
CTFs are outputs of their own, so a protocol after a CTF takes its images from what the CTF was estimated on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoloom.engine.graph.workflow import Node, Workflow, link_of
from cryoloom.errors import UserInputError
from cryoloom.scipion.rule import Convert, NotTranslatedError, Rule, Surroundings
from cryoloom.scipion.rules import RULES

__all__ = ["ExportedToScipion", "scipion_of", "write_scipion"]


@dataclass(frozen=True, slots=True)
class _Target:
    """The protocol that does a step's work."""

    protocol: str
    output: str
    is_ctf: bool = False
    """Its output is CTFs alone."""
    then: _Target | None = None
    """A second protocol that takes its output and gives the result."""


_SOLVED = _Target("ProtImodFiducialAlignment", "TiltSeries")
_TARGETS: Mapping[str, _Target] = {
    "import_movies": _Target("ProtImportTsMovies", "outputTiltSeriesM"),
    "import_tilt_series": _Target("ProtImportTs", "outputTiltSeries"),
    "align_frames": _Target("ProtTsMotionCorr", "TiltSeries"),
    "erase_xrays": _Target("ProtImodXraysEraser", "TiltSeries"),
    "bin_series": _Target("ProtImodTsNormalization", "TiltSeries"),
    "weight_dose": _Target("ProtImodDoseFilter", "TiltSeries"),
    "exclude_tilts": _Target("ProtImodExcludeViews", "TiltSeries"),
    "estimate_ctf": _Target("CistemProtTsCtffind", "CTFTomoSeries", is_ctf=True),
    "apply_alignment": _Target("ProtImodApplyTransformationMatrix", "InterpolatedTiltSeries"),
    "assign_poses": _Target("ProtAssignTransformationMatrixTiltSeries", "tiltSeries"),
    "correct_ctf": _Target("ProtImodCtfCorrection", "TiltSeries"),
    "reconstruct": _Target("ProtImodTomoReconstruction", "Tomograms"),
    "deconvolve": _Target("ProtWarpDeconvTomo", "Tomograms"),
    "pick_by_hand": _Target("DynamoBoxing", "meshes"),
    "pick_on_surfaces": _Target("DynamoModelWorkflow", "coordinates"),
    "extract_particles": _Target("ProtRelion5ExtractSubtomos", "relionParticles"),
    "initial_model": _Target("ProtRelionDeNovoInitialModel", "average"),
    "refine": _Target("ProtRelionRefineSubtomograms", "average"),
    "reconstruct_particle": _Target("ProtRelion5ReconstructParticle", "average"),
}
_BY_METHOD: Mapping[str, Mapping[str, _Target]] = {
    "align_series": {
        "patches": _Target("ProtImodBRT", "TiltSeries"),
        "beads": _Target("ProtImodFiducialModel", "FiducialModelGaps", then=_SOLVED),
        "no_markers": _Target("ProtAreTomoAlignRecon", "TiltSeries"),
    },
    "reconstruct": {"sirt": _Target("ProtTomo3dReconstrucTomo", "tomograms")},
}
_PART_OF_OTHERS = {
    "prepare_gain": "the gain is applied by the motion correction",
    "assign_ctf": "CTFs are an input of their own in Scipion",
    "assign_series": "the series are an input of their own in Scipion",
}


@dataclass(frozen=True, slots=True)
class ExportedToScipion:
    """Protocols as Scipion's JSON has them, and what of the workflow they do not contain."""

    protocols: tuple[Mapping[str, Any], ...]
    left: tuple[str, ...]


def scipion_of(workflow: Workflow) -> ExportedToScipion:
    """Protocols of a workflow. Raises UserInputError where no step has one."""
    made = _Exporter(workflow)
    for node in workflow.steps:
        made.add(node)
    if not made.protocols:
        raise UserInputError(f"no step of {workflow.name} has a protocol in Scipion: {'; '.join(made.left)}")
    return ExportedToScipion(tuple(made.protocols), tuple(made.left))


def write_scipion(workflow: Workflow, path: Path) -> ExportedToScipion:
    """Write a file that Scipion imports (Project, Import workflow)."""
    exported = scipion_of(workflow)
    path.write_text(json.dumps(list(exported.protocols), indent=4) + "\n", encoding="utf-8")
    return exported


class _Exporter:
    """Protocols made so far, and where each node's images and CTFs are."""

    def __init__(self, workflow: Workflow) -> None:
        self.protocols: list[dict[str, Any]] = []
        self.left: list[str] = []
        self._main: dict[str, str] = {}
        self._ctf: dict[str, str] = {}
        self._pixel: dict[str, float | None] = {}
        self._series: dict[str, str] = {}
        """Where the series of particles are, if they were assigned others than those they were picked in."""
        self._name = workflow.name

    def add(self, node: Node) -> None:
        """A node as a protocol, or as part of others, or as something left out."""
        source = "" if node.input is None else link_of(node.input).node
        if node.step in _PART_OF_OTHERS or (target := _target_of(node)) is None:
            self.left.append(f"{node.name}: {_PART_OF_OTHERS.get(node.step, 'no protocol does its work')}")
            self._main[node.name] = self._main.get(source, "")
            ctf_from = link_of(node.links.get("ctf_from", node.input or "")).node
            self._ctf[node.name] = self._ctf.get(ctf_from, "")
            self._pixel[node.name] = self._pixel.get(source)
            series_from = link_of(node.links.get("series_from", "")).node
            self._series[node.name] = self._main.get(series_from, self._series.get(source, ""))
            if series_from:
                self._ctf[node.name] = self._ctf.get(series_from, "")
            return
        rule, id = RULES[target.protocol], str(100 + len(self.protocols))
        pixel = node.parameters.get("pixel_size_angstrom", self._pixel.get(source))
        entry = self._entry(target.protocol, id, node)
        entry |= self._values(node, rule, pixel)
        entry |= self._links(node, rule, source)
        self.protocols.append(entry)
        output = f"{id}.{target.output}"
        if target.then is not None:
            id = str(100 + len(self.protocols))
            taken = RULES[target.then.protocol].inputs[0]
            self.protocols.append(self._entry(target.then.protocol, id, node) | {taken: output})
            output = f"{id}.{target.then.output}"
        self._main[node.name] = self._main.get(source, "") if target.is_ctf else output
        self._ctf[node.name] = output if target.is_ctf else self._ctf.get(source, "")
        binning = node.parameters.get("binning", 1) if rule.pieces and rule.pieces[-1].binning else 1
        self._series[node.name] = self._series.get(source, "")
        self._pixel[node.name] = None if pixel is None else float(pixel) * float(binning)

    def _entry(self, protocol: str, id: str, node: Node) -> dict[str, Any]:
        """What every protocol has in a file that Scipion wrote."""
        return {
            "object.className": protocol,
            "object.id": id,
            "object.label": f"{self._name}: {node.name}",
            "object.comment": node.comment,
            "runName": None,
            "runMode": 0,
            "_useQueue": False,
            "_prerequisites": "",
            "_queueParams": None,
        }

    def _links(self, node: Node, rule: Rule, source: str) -> dict[str, str]:
        links = {}
        if rule.inputs and self._main.get(source):
            links[rule.inputs[0]] = self._main[source]
        if rule.ctf and self._ctf.get(source):
            links[rule.ctf] = self._ctf[source]
        for theirs, role in rule.roles.items():
            if role in node.links:
                links[theirs] = self._main.get(link_of(node.links[role]).node, "")
            elif role == "series_from":
                links[theirs] = self._series.get(source, "")
        return {name: value for name, value in links.items() if value}

    def _values(self, node: Node, rule: Rule, pixel: float | None) -> dict[str, Any]:
        """Scipion's values of the parameters that the node sets; the others are listed."""
        pieces = [piece for piece in rule.pieces if piece.step == node.step]
        takes: dict[str, tuple[str, Convert]] = {}
        for piece in pieces:
            for theirs, (ours, convert) in piece.takes.items():
                takes.setdefault(ours, (theirs, convert))  # the first is the name of today
        implied = {name for piece in pieces for name in piece.sets}
        values: dict[str, Any] = {}
        for ours, value in node.parameters.items():
            if ours in implied or ours == "method":
                continue
            if ours not in takes:
                self.left.append(f"{node.name}: {ours} = {value!r} has no counterpart")
                continue
            theirs, convert = takes[ours]
            found = _inverted(convert, value, pixel)
            if found is None:
                self.left.append(f"{node.name}: {ours} = {value!r} has no counterpart in {theirs}")
            else:
                values[theirs] = found
        return values


def _target_of(node: Node) -> _Target | None:
    method = str(node.parameters.get("method", ""))
    return _BY_METHOD.get(node.step, {}).get(method) or _TARGETS.get(node.step)


def _inverted(convert: Convert, value: Any, pixel: float | None) -> Any:
    """Scipion's value that the import turns into ours; None where there is none."""
    around = Surroundings({}, pixel)
    tried: list[Any] = [value, *range(12), True, False]
    if isinstance(value, int | float) and not isinstance(value, bool):
        per_unit = _gives(convert, 1.0, around)
        if isinstance(per_unit, int | float) and per_unit:
            exact = value / per_unit
            tried = [value, round(exact, 6), exact, *tried]
    for candidate in tried:
        found = _gives(convert, candidate, around)
        is_close = isinstance(found, int | float) and isinstance(value, int | float)
        if found == value or (is_close and abs(found - value) <= 1e-3 * max(abs(value), 1e-9)):
            return candidate
    return None


def _gives(convert: Convert, value: Any, around: Surroundings) -> Any:
    try:
        return convert(value, around)
    except (NotTranslatedError, TypeError, ValueError, KeyError, IndexError):
        return None
