"""Export of a workflow to Scipion: the rules of the import, applied in reverse.

Each step becomes the protocol that does the same work, with every parameter that has a counterpart. A
conversion is inverted by trying values; a value is accepted only if the rule of the import returns ours.
CTFs are separate outputs in Scipion, so a protocol after a CTF takes its images from the input of the CTF
estimation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cryoloom.contract import find_step
from cryoloom.engine.graph.workflow import Node, Workflow, link_of
from cryoloom.errors import UserInputError
from cryoloom.model import Particles
from cryoloom.scipion.rule import Convert, NotTranslatedError, Rule, Surroundings
from cryoloom.scipion.rules import RULES

__all__ = ["ExportedToScipion", "scipion_of", "write_scipion"]


_BALANCED = 2
"""Default preset of Scipion's filter of views."""
_ANY_DOSE = 100_000.0
"""Chosen: larger than the dose of any series in e/A^2; Scipion's default excludes tilts beyond 70."""

Kind = Literal[
    "movies", "series", "ctf", "landmarks", "tomograms", "meshes", "coordinates", "particles", "average"
]
"""Type of an output in Scipion; an input accepts one type, or one of several."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Protocol that does a step's work. Output names are those of the plugins of 2024 to 2026."""

    protocol: str
    output: str
    gives: Kind = "series"
    takes: tuple[Kind, ...] = ("series",)
    """Types that the main input accepts, the preferred type first."""
    also: Mapping[Kind, str] = field(default_factory=dict)
    """Further outputs."""
    further: Mapping[str, Kind] = field(default_factory=dict)
    """Types of the further inputs, except the CTF."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that select the method, or restrict the protocol to the work of the step."""
    methods: tuple[str, ...] = ("",)
    """Values of the step's ``method`` that are the protocol's method; "" is the default."""
    says: tuple[str, ...] = ()
    """Parameters of the node that are contained in `sets`."""
    asks: str = ""
    """Required values that only the user can provide."""
    then: _Target | None = None
    """A second protocol that takes the output and makes the result."""


_MOTIONCOR = _Target("ProtTsMotionCorr", "tiltSeries", takes=("movies",))
_CTFFIND = _Target("CistemProtTsCtffind", "CTFs", "ctf")
_BEADS = _Target(
    "ProtImodFiducialModel",
    "FiducialModelGaps",
    "landmarks",
    sets={"typeOfModel": 0},
    then=_Target("ProtImodFiducialAlignment", "TiltSeries", takes=("landmarks",)),
)
_PATCHES = _Target("ProtImodBRT", "TiltSeries", sets={"alignMode": 1})
_ARETOMO = _Target("ProtAreTomoAlignRecon", "TiltSeries", sets={"makeTomo": False, "doEstimateCtf": False})
_TILT = _Target("ProtImodTomoReconstruction", "Tomograms", "tomograms", methods=("", "wbp"))
_TOMO3D = _Target("ProtTomo3dReconstrucTomo", "tomograms", "tomograms")
_SIRT = replace(_TOMO3D, sets={"method": 1})
_EXTRACT = _Target(
    "ProtRelion5ExtractSubtomos",
    "relionParticles",
    "particles",
    takes=("particles", "coordinates"),
    further={"inputTS": "series"},
)
_INITIAL_MODEL = _Target("ProtRelionDeNovoInitialModel", "average", "average", takes=("particles",))
_REFINE = _Target(
    "ProtRelionRefineSubtomograms",
    "average",
    "average",
    takes=("particles",),
    further={"referenceVolume": "average"},
    also={"particles": "relionParticles"},
)
_RECONSTRUCT_PARTICLE = _Target("ProtRelion5ReconstructParticle", "average", "average", takes=("particles",))
_POSTPROCESS = _Target("ProtRelionPostProcess", "postProcessVolume", "average", takes=("average",))
_TARGETS: Mapping[str, _Target] = {
    "import_movies": _Target("ProtImportTsMovies", "outputTiltSeriesM", "movies", takes=()),
    "import_tilt_series": _Target("ProtImportTs", "outputTiltSeries", takes=()),
    "import_tomograms": _Target("ProtImportTomograms", "Tomograms", "tomograms", takes=()),
    "align_frames": _MOTIONCOR,
    "erase_xrays": _Target("ProtImodXraysEraser", "TiltSeries"),
    "bin_series": _Target("ProtImodTsNormalization", "TiltSeries"),
    "weight_dose": _Target("ProtImodDoseFilter", "TiltSeries"),
    "exclude_tilts": _Target("ProtImodExcludeViews", "TiltSeries"),
    "estimate_ctf": _CTFFIND,
    "align_series": replace(_ARETOMO, methods=()),
    "apply_alignment": _Target("ProtImodApplyTransformationMatrix", "InterpolatedTiltSeries"),
    "assign_poses": _Target(
        "ProtAssignTransformationMatrixTiltSeries", "tiltSeries", further={"getTMSetOfTiltSeries": "series"}
    ),
    "correct_ctf": _Target("ProtImodCtfCorrection", "TiltSeries", methods=("", "phase_flip")),
    "reconstruct": _TILT,
    "deconvolve": _Target("ProtWarpDeconvTomo", "Tomograms", "tomograms", takes=("tomograms",)),
    "pick_by_hand": _Target("DynamoBoxing", "meshes", "meshes", takes=("tomograms",)),
    "pick_on_surfaces": _Target("DynamoModelWorkflow", "coordinates", "coordinates", takes=("meshes",)),
    "pick_by_template": _Target(
        "EmanProtTemplateMatching",
        "coordinates",
        "coordinates",
        takes=("tomograms",),
        asks="import the template as a volume in Scipion and connect refVol of EmanProtTemplateMatching",
    ),
    "extract_particles": _EXTRACT,
    "initial_model": _INITIAL_MODEL,
    "refine": _REFINE,
    "reconstruct_particle": _RECONSTRUCT_PARTICLE,
    "postprocess": _POSTPROCESS,
    # Steps that run the programs of the protocols.
    "motioncor_align_frames": _MOTIONCOR,
    "warp_align_frames": _Target(
        "ProtWarpTSMotionCorr", "TiltSeries", takes=("movies",), also={"ctf": "CTFTomoSeries"}
    ),
    "ctffind_estimate_ctf": _CTFFIND,
    "imod_estimate_ctf": _Target("ProtImodAutomaticCtfEstimation", "CTFTomoSeries", "ctf"),
    "imod_erase_xrays": _Target("ProtImodXraysEraser", "TiltSeries"),
    "imod_bin_series": _Target("ProtImodTsNormalization", "TiltSeries"),
    "imod_weight_dose": _Target("ProtImodDoseFilter", "TiltSeries"),
    "imod_align_by_beads": _BEADS,
    "imod_align_series": _PATCHES,
    "imod_apply_alignment": _Target("ProtImodApplyTransformationMatrix", "InterpolatedTiltSeries"),
    "imod_correct_ctf": _Target("ProtImodCtfCorrection", "TiltSeries"),
    "imod_reconstruct": _TILT,
    "aretomo_align_series": _ARETOMO,
    "aretomo3_align_series": _ARETOMO,
    "aretomo_reconstruct": _Target(
        "ProtAreTomoAlignRecon",
        "Tomograms",
        "tomograms",
        sets={"skipAlign": True, "makeTomo": True, "doEstimateCtf": False},
    ),
    "tomo3d_reconstruct": _TOMO3D,
    "relion_extract_particles": _EXTRACT,
    "relion_initial_model": _INITIAL_MODEL,
    "relion_refine": _REFINE,
    "relion_reconstruct_particle": _RECONSTRUCT_PARTICLE,
    "relion_postprocess": _POSTPROCESS,
}
_BY_METHOD: Mapping[str, Mapping[str, _Target]] = {
    "align_series": {"patches": _PATCHES, "beads": _BEADS, "no_markers": _ARETOMO},
    "reconstruct": {"sirt": _SIRT},
}
_PART_OF_OTHERS = {
    "prepare_gain": "the gain is applied by the motion correction",
    "assign_ctf": "CTFs are an input of their own in Scipion",
    "assign_series": "the series are an input of their own in Scipion",
}
_TAKEN_OVER: Mapping[str, tuple[Kind, ...]] = {"ctf_from": ("ctf",), "series_from": ("series", "ctf")}
"""Further inputs, by role, of a node that is part of other nodes."""


@dataclass(frozen=True, slots=True)
class ExportedToScipion:
    """Protocols in the form of Scipion's JSON, and the parts of the workflow that were not exported."""

    protocols: tuple[Mapping[str, Any], ...]
    left: tuple[str, ...]


def scipion_of(workflow: Workflow) -> ExportedToScipion:
    """Protocols of a workflow. Raises UserInputError if no step has one."""
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
    """Protocols made so far, and the output of each type for the next nodes."""

    def __init__(self, workflow: Workflow) -> None:
        self.protocols: list[dict[str, Any]] = []
        self.left: list[str] = []
        self._at: dict[str, dict[Kind, str]] = {}
        self._pixel: dict[str, float | None] = {}
        self._extracted: dict[str, list[str]] = {}
        """Extracted particles by the coordinates of the extraction."""
        self._name = workflow.name

    def add(self, node: Node) -> None:
        """Add a node as a protocol or as part of other protocols, or list it as left out."""
        source = "" if node.input is None else link_of(node.input).node
        at = dict(self._at.get(source, {}))
        self._at[node.name] = at
        pixel = self._pixel[node.name] = node.parameters.get("pixel_size_angstrom", self._pixel.get(source))
        target = _target_of(node)
        if node.step in _PART_OF_OTHERS or target is None:
            self._pass_by(node, at)
            return
        if target.takes == ("particles",) and not self._particles(target, at) and "coordinates" in at:
            self._add_extraction(node, at)
        entry = self._entry(target, node)
        entry |= self._links(node, RULES[target.protocol], target, at)
        self.protocols.append(entry)
        if target.asks:
            self.left.append(f"{node.name}: {target.asks}")
        made, last = [(target, entry)], target
        if target.then is not None:
            last = target.then
            feeds = RULES[last.protocol].inputs[0]
            second = self._entry(last, node) | {feeds: f"{entry['object.id']}.{target.output}"}
            self.protocols.append(second)
            made.append((last, second))
        self._set_values(node, made, pixel)
        output = f"{made[-1][1]['object.id']}.{last.output}"
        if last.gives == "coordinates":
            at.pop("particles", None)
        elif target is _EXTRACT:
            self._extracted.setdefault(at.get("coordinates", ""), []).append(output)
        at[last.gives] = output
        at |= {kind: f"{entry['object.id']}.{name}" for kind, name in target.also.items()}
        pieces = RULES[target.protocol].pieces
        if pixel is not None and pieces and pieces[-1].binning:
            self._pixel[node.name] = float(pixel) * float(node.parameters.get("binning", 1))

    def _particles(self, target: _Target, at: Mapping[Kind, str]) -> str:
        """Input particles, or particles extracted at the coordinates; "" if there are none."""
        cut = self._extracted.get(at.get("coordinates", ""), [])
        # An initial model uses the first extracted particles, all other protocols the last.
        return at.get("particles") or (cut[0 if target is _INITIAL_MODEL else -1] if cut else "")

    def _add_extraction(self, node: Node, at: Mapping[Kind, str]) -> None:
        """Add an extraction: Scipion's refinement needs extracted images, ours extracts them itself."""
        entry = self._entry(_EXTRACT, node)
        entry |= self._links(node, RULES[_EXTRACT.protocol], _EXTRACT, at)
        entry["object.label"] += ", extraction"
        self.protocols.append(entry)
        self._extracted[at["coordinates"]] = [f"{entry['object.id']}.{_EXTRACT.output}"]
        self.left.append(
            f"{node.name}: {_EXTRACT.protocol} was put before it; enter boxSize and croppedBoxSize in Scipion"
        )

    def _pass_by(self, node: Node, at: dict[Kind, str]) -> None:
        """Skip a node without a protocol: the next nodes take its input, except picks, which are missing."""
        self.left.append(f"{node.name}: {_PART_OF_OTHERS.get(node.step, 'no protocol does its work')}")
        for role, kinds in _TAKEN_OVER.items():
            if role in node.links:
                given = self._at.get(link_of(node.links[role]).node, {})
                at |= {kind: given[kind] for kind in kinds if kind in given}
        if find_step(node.step).gives is Particles and node.step not in _PART_OF_OTHERS:
            for kind in ("meshes", "coordinates", "particles"):
                at.pop(kind, None)

    def _entry(self, target: _Target, node: Node) -> dict[str, Any]:
        """The entries that Scipion writes for every protocol, and the values that the target sets."""
        return {
            "object.className": target.protocol,
            "object.id": str(100 + len(self.protocols)),
            "object.label": f"{self._name}: {node.name}",
            "object.comment": node.comment,
            "runName": None,
            "runMode": 0,
            "_useQueue": False,
            "_prerequisites": "",
            "_queueParams": None,
            **target.sets,
        }

    def _links(self, node: Node, rule: Rule, target: _Target, at: Mapping[Kind, str]) -> dict[str, str]:
        """Inputs, each with an output of an accepted type; inputs without a source are listed."""
        links = {}
        if target.takes:
            found = next((at[kind] for kind in target.takes if kind in at), "")
            if target.takes == ("particles",):
                found = self._particles(target, at)
            if not found:
                self.left.append(
                    f"{node.name}: no protocol gives its {' or '.join(target.takes)}; connect "
                    f"{rule.inputs[0]} of {target.protocol} in Scipion"
                )
            else:
                links[rule.inputs[0]] = found
        if rule.ctf and "ctf" in at:
            links[rule.ctf] = at["ctf"]
        for theirs, kind in target.further.items():
            role = rule.roles.get(theirs, "")
            linked = self._at.get(link_of(node.links[role]).node, {}) if role in node.links else at
            if kind in linked:
                links[theirs] = linked[kind]
        return links

    def _set_values(
        self, node: Node, made: list[tuple[_Target, dict[str, Any]]], pixel: float | None
    ) -> None:
        """Set the node's parameters in its protocols; parameters without a counterpart are listed."""
        target = made[0][0]
        method = str(node.parameters.get("method", ""))
        if method not in target.methods and _BY_METHOD.get(node.step, {}).get(method) is not target:
            method = method or str(find_step(node.step).params.model_fields["method"].default)
            self.left.append(f"{node.name}: method = {method!r} becomes that of {target.protocol}")
        for ours, value in node.parameters.items():
            takers = [(one, entry, _taken(one, node.step, ours)) for one, entry in made]
            if ours == "method" or any(ours in (*_implied(one, node.step), *one.says) for one, _ in made):
                continue
            taken = next(((one, entry, how) for one, entry, how in takers if how is not None), None)
            if taken is None:
                self.left.append(f"{node.name}: {ours} = {value!r} has no counterpart")
                continue
            one, entry, (theirs, convert) = taken
            found = _inverted(convert, value, Surroundings(one.sets, pixel))
            if found is not None:
                entry[theirs] = found
            elif pixel is None and _inverted(convert, value, Surroundings(one.sets, 1.0)) is not None:
                self.left.append(
                    f"{node.name}: {ours} = {value!r} becomes pixels in {theirs}, and the workflow has no "
                    "pixel size; set pixel_size_angstrom of the import, or enter it in Scipion"
                )
            else:
                self.left.append(f"{node.name}: {ours} = {value!r} has no counterpart in {theirs}")
        self._set_defaults(node, made, pixel)

    def _set_defaults(
        self, node: Node, made: list[tuple[_Target, dict[str, Any]]], pixel: float | None
    ) -> None:
        """Set our defaults as well, if they have a counterpart, because Scipion's defaults differ."""
        for ours, info in find_step(node.step).params.model_fields.items():
            default = info.get_default()
            if (
                ours in node.parameters
                or ours == "method"
                or not isinstance(default, bool | int | float | str)
            ):
                continue
            for one, entry in made:
                how = _taken(one, node.step, ours)
                if how is None or how[0] in entry or ours in _implied(one, node.step):
                    continue
                found = _inverted(how[1], default, Surroundings(one.sets, pixel))
                if found is not None:
                    entry[how[0]] = found


def _taken(target: _Target, step: str, ours: str) -> tuple[str, Convert] | None:
    """Scipion's parameter for one of ours, with the conversion; None if the protocol has none."""
    for piece in RULES[target.protocol].pieces:
        for theirs, (name, convert) in piece.takes.items() if piece.step == step else ():
            if name == ours:
                return theirs, convert  # the first is the current name
    return None


def _implied(target: _Target, step: str) -> set[str]:
    """Our parameters that the protocol implies."""
    return {name for piece in RULES[target.protocol].pieces if piece.step == step for name in piece.sets}


def _filter_of_views(node: Node) -> _Target:
    """Scipion's filter of views, restricted to the work of `select_tilts`."""
    judged = ("find_dark", "find_covered", "find_blurred")
    by_images = any(node.parameters.get(name, True) for name in judged)
    shift = float(node.parameters.get("shift_fraction") or 1.0)
    return _Target(
        "ProtExclViewFilter",
        "tiltSeries",
        sets={
            "qualityFilterFactor": _BALANCED if by_images else 0,
            "maxShiftX": shift,
            "maxShiftY": shift,
            "minTilt": -90.0,
            "maxTilt": 90.0,
            "minDose": 0.0,
            "maxDose": _ANY_DOSE,
            "minViews": 1,
        },
        says=(*judged, "find_shifted", "shift_fraction"),
    )


def _target_of(node: Node) -> _Target | None:
    if node.step == "select_tilts":
        return _filter_of_views(node)
    method = str(node.parameters.get("method", ""))
    return _BY_METHOD.get(node.step, {}).get(method) or _TARGETS.get(node.step)


def _inverted(convert: Convert, value: Any, around: Surroundings) -> Any:
    """Scipion's value that the import converts to ours; None if there is none."""
    # Text comes last: a conversion that only tests whether a value is true would accept any text.
    numbered = [*range(12), True, False]
    tried: list[Any] = [*numbered, value] if isinstance(value, str) else [value, *numbered]
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
