"""The contract of a step: a function of data, parameters and a context, and its declaration.

Command-line options, reference page, JSON schema, cache key and provenance are made from the declaration.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from cryoloom.contract.citations import CitedFor, references_of
from cryoloom.contract.context import JsonValue, PartFunction, ProgramOutput, StepContext
from cryoloom.contract.figures import Figure, Record, check_declared
from cryoloom.contract.program import Call, Program
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import UserInputError

__all__ = [
    "PROGRAMS_RECORD",
    "ByHand",
    "FurtherInput",
    "Gathered",
    "JsonValue",
    "Knowledge",
    "MemoryEstimate",
    "Outputs",
    "OutsideFacts",
    "PartFunction",
    "ProgramOutput",
    "Shared",
    "Step",
    "StepContext",
    "StepParams",
    "UnitOfWork",
    "kind_of",
    "step",
]

UnitOfWork = Literal["project", "tilt_series", "tomogram", "particle_set", "average"]
"""Unit of work of a step. Sources work on the project; gathering steps on a set or on all of it."""
Knowledge = Literal["movies", "images", "ctf", "poses"]
"""Properties that a tilt series can gain from a step."""
ByHand = Literal["slab", "thickness", "ctf", "picks", "surfaces", "alignment", "least_score"]
"""What users draw or choose and a step takes as parameters: the slab, a thickness that holds it, tilts whose
CTF is to be fitted again or rejected, picks, surfaces, an alignment made in another program's windows, and
the score below which particles are left out."""


class StepParams(BaseModel):
    """Parameters that a user may set. Frozen; an unknown name is an error, and so is a nan or an inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


MemoryEstimate = Callable[[Any, Any], int]
OutsideFacts = Callable[[str, Any], JsonValue]
MakeCalls = Callable[[Any, Any, Any], Sequence[Call]]

PROGRAMS_RECORD = Record("programs", "Outside programs that were run: version, place and reference.")
"""Kept with every result of a step that runs outside programs."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Result of a step with several outputs. A tuple of items continues as single items, by name."""

    main: object
    others: Mapping[str, object]
    """Further outputs by role, as declared in `Step.also_gives`."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A further input that all items share: every item gets the single item of its source."""

    kind: type


@dataclass(frozen=True, slots=True)
class Gathered:
    """A further input that is gathered: all items of its source, as a tuple sorted by name."""

    kind: type


FurtherInput = type | Shared | Gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A declared step.

    ``per`` is the unit of work. ``needs`` and ``gives`` are types of the model; a source needs nothing and
    gives many items. A step that gives ``object`` passes its input on, or a `LeftOut`.
    """

    name: str
    version: int
    per: UnitOfWork
    needs: type | None
    gives: type
    params: type[StepParams]
    function: Callable[..., Any]
    gpu: Literal["none", "optional"]
    bytes_needed: MemoryEstimate
    """Peak memory of one item: ``bytes_needed(item, params)``; a source gets None as item."""
    citations: tuple[str | CitedFor, ...]
    ahead: Callable[..., Any] | None = None
    """Work on an item that is still growing: ``ahead(item, params, context)`` saves partial results with
    `StepContext.save_partial` and returns the item for the following steps, or None if it is too
    early."""
    ignores_exclusions: bool = False
    """True if an excluded tilt changes nothing (its movie is summed anyway), so that nothing is redone."""
    also_needs: Mapping[str, FurtherInput] = field(default_factory=dict)
    """Further inputs by role; they are passed to the function as keywords. A role ends in ``_from``. A plain
    type means the item of the same name; see `Shared` and `Gathered`."""
    gathers: bool = False
    """True if the step works on all items of its input at once: it gets a tuple, sorted by name."""
    named_by: str = ""
    """Parameter that names the result of a gathering step; "" names it "all"."""
    also_gives: Mapping[str, type] = field(default_factory=dict)
    """Further outputs by role, for a step that gives `Outputs`."""
    bytes_per_part: MemoryEstimate | None = None
    """Peak memory of one part of the work, ``bytes_per_part(item, params)``, for a step that calls
    `StepContext.map`."""
    bytes_stored: MemoryEstimate | None = None
    """Most disk space of the files of one item, ``bytes_stored(item, params)``.

    For a step that writes much.
    """
    usual_time: UsualTime | None = None
    """Time for an item on the machine of the benchmarks; None if that depends on more than its size."""
    methods: str = ""
    """The step as a sentence for a methods section. ``{name:.1f}`` is a parameter, or the median of a figure
    over the items (``{total_name}`` is their sum); text in [ ] is omitted if a value in it is missing or a
    parameter has its default."""
    reads_figures: bool = False
    """True if the step uses the figures of the steps before it."""
    figures: tuple[Figure, ...] = ()
    """Numbers that describe the quality of a result, with their meaning; others are refused."""
    records: tuple[Record, ...] = ()
    """Curves and tables stored with a result, with their meaning; others are refused."""
    source_of: tuple[Knowledge, ...] = ()
    """Properties that a series first gets from this step: measured, or imported from another program."""
    hold_axis: Callable[[float], Mapping[str, Any]] | None = None
    """Parameters with which the step keeps the tilt axis at a value in degrees, where it can."""
    asks: Mapping[str, JsonValue] = field(default_factory=dict)
    """Parameters of the step that makes its input, unless the workflow sets them.

    If that step does not have them, the nearest earlier step that does gets them. Denoising requests half
    tomograms in this way.
    """
    takes_by_hand: tuple[ByHand, ...] = ()
    """Choices and drawings of users in the browser that become parameters of this step."""
    outside: OutsideFacts | None = None
    """External data that determine the result: ``outside(item_name, params)`` returns plain data (digests of
    files that parameters name) that become part of the cache key."""

    programs: tuple[Program, ...] = ()
    """Outside programs that the step runs."""
    calls: MakeCalls | None = None
    """``calls(item, params, workplace)``: the runs of these programs, as plain data."""
    beside: str = ""
    """The native step that does the same; "" if there is none."""

    @property
    def given_kinds(self) -> dict[str, str]:
        """Names of the types that it gives, by output; the main output is ""."""
        return {"": self.gives.__name__} | {role: kind.__name__ for role, kind in self.also_gives.items()}

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def description(self) -> str:
        """Docstring of the step's module and function: what it does, and the source of the method."""
        module = inspect.getmodule(self.function)
        return "\n\n".join(filter(None, [inspect.getdoc(module), inspect.getdoc(self.function)]))

    def references(self, parameters: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Sources of the step's methods: all, or those that apply to these parameters."""
        return references_of(self.citations, parameters)

    @property
    def hands_on(self) -> bool:
        """Whether the step only selects items: its result is its input."""
        return self.gives is object

    def run(self, item: object | None, params: StepParams, context: StepContext, **others: object) -> Any:
        """Call the step: ``(item, params, context, **others)``, or ``(params, context)`` for a source."""
        if self.needs is None:
            return self.function(params, context)
        _check_kind(self.name, "its input", item, self.needs, gathered=self.gathers)
        for role, wanted in self.also_needs.items():
            _check_kind(
                self.name, role, others.get(role), kind_of(wanted), gathered=isinstance(wanted, Gathered)
            )
        return self.function(item, params, context, **others)

    def result_name(self, params: StepParams) -> str:
        """Name of the item that a gathering step makes."""
        return str(getattr(params, self.named_by)) if self.named_by else "all"

    def run_ahead(self, item: object, params: StepParams, context: StepContext) -> Any:
        """Do the possible part of the work for a growing item.

        Returns the item for the following steps, or None.
        """
        return None if self.ahead is None else self.ahead(item, params, context)


def step(
    name: str,
    *,
    version: int = 1,
    per: UnitOfWork,
    needs: type | None,
    gives: type,
    bytes_needed: MemoryEstimate,
    gpu: Literal["none", "optional"] = "none",
    citations: Sequence[str | CitedFor] = (),
    ahead: Callable[..., Any] | None = None,
    ignores_exclusions: bool = False,
    also_needs: Mapping[str, FurtherInput] | None = None,
    gathers: bool = False,
    named_by: str = "",
    also_gives: Mapping[str, type] | None = None,
    bytes_per_part: MemoryEstimate | None = None,
    bytes_stored: MemoryEstimate | None = None,
    usual_time: UsualTime | None = None,
    reads_figures: bool = False,
    methods: str = "",
    figures: Sequence[Figure] = (),
    records: Sequence[Record] = (),
    source_of: Sequence[Knowledge] = (),
    hold_axis: Callable[[float], Mapping[str, Any]] | None = None,
    asks: Mapping[str, JsonValue] | None = None,
    takes_by_hand: Sequence[ByHand] = (),
    outside: OutsideFacts | None = None,
    programs: Sequence[Program] = (),
    calls: MakeCalls | None = None,
    beside: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as a step; its ``params`` annotation gives the parameter class.

    Raise ``version`` if the same input and parameters give another result: it is part of the cache key.
    The function stays an ordinary function; the declaration is its ``declaration`` attribute.
    """
    if programs:
        records = (*records, PROGRAMS_RECORD)
        citations = (*citations, *dict.fromkeys(program.citation for program in programs))

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        params = inspect.signature(function, eval_str=True).parameters["params"].annotation
        check_declared(name, figures, records)
        declared = Step(
            name=name,
            version=version,
            per=per,
            needs=needs,
            gives=gives,
            params=params,
            function=function,
            gpu=gpu,
            bytes_needed=bytes_needed,
            citations=tuple(citations),
            ahead=ahead,
            ignores_exclusions=ignores_exclusions,
            also_needs=dict(also_needs or {}),
            gathers=gathers,
            named_by=named_by,
            also_gives=dict(also_gives or {}),
            bytes_per_part=bytes_per_part,
            bytes_stored=bytes_stored,
            usual_time=usual_time,
            methods=methods,
            reads_figures=reads_figures,
            figures=tuple(figures),
            records=tuple(records),
            source_of=tuple(source_of),
            hold_axis=hold_axis,
            asks=dict(asks or {}),
            takes_by_hand=tuple(takes_by_hand),
            outside=outside,
            programs=tuple(programs),
            calls=calls,
            beside=beside,
        )
        _check(declared)
        cast(Any, function).declaration = declared
        return function

    return declare


def kind_of(wanted: FurtherInput) -> type:
    """The model's type that a further input needs."""
    return wanted.kind if isinstance(wanted, Shared | Gathered) else wanted


def _check_kind(step_name: str, role: str, value: object, kind: type, *, gathered: bool) -> None:
    """Raise UserInputError if a step gets another type than it declares."""
    values = value if gathered and isinstance(value, tuple) else (value,)
    wrong = next((one for one in values if not isinstance(one, kind)), None)
    if wrong is not None or value is None:
        raise UserInputError(
            f"step {step_name} needs a {kind.__name__} as {role}, got a {type(wrong).__name__}; "
            "connect it to a step that gives one"
        )


_UNITS: Mapping[str, tuple[UnitOfWork, ...]] = {
    "TiltSeries": ("tilt_series",),
    "Tomogram": ("tomogram",),
    "Particles": ("particle_set", "tomogram"),
    "Average": ("average",),
}
"""Units of work that an item of a model type can be, by the type's name. Particles are of one tomogram, or a
set of several."""


def _check(declared: Step) -> None:
    """Raise ValueError if a declaration contradicts itself."""
    units = _UNITS.get(declared.needs.__name__, ()) if declared.needs else ()
    faults = {
        f"a step that works on one {getattr(declared.needs, '__name__', '')} is per {' or '.join(units)}": (
            bool(units) and not declared.gathers and declared.per not in units
        ),
        'a source works per "project"': declared.needs is None and declared.per != "project",
        "a source does not gather": declared.needs is None and declared.gathers,
        f"a step per {declared.per} does not gather": (
            declared.gathers and declared.per in ("tilt_series", "tomogram")
        ),
        "a gathering step cannot process items ahead": declared.gathers and declared.ahead is not None,
        "a gathering step has many steps before it, whose figures cannot be distinguished": (
            declared.gathers and declared.reads_figures
        ),
        "only a gathering step names its result": bool(declared.named_by) and not declared.gathers,
        f"there is no parameter {declared.named_by!r}": (
            bool(declared.named_by) and declared.named_by not in declared.params.model_fields
        ),
        "the role of a further input ends in _from": (
            not all(role.endswith("_from") for role in declared.also_needs)
        ),
        "a step that runs programs declares their calls": bool(declared.programs)
        != (declared.calls is not None),
        "a further output has a plain name": not all(role.isidentifier() for role in declared.also_gives),
    }
    for sentence, is_wrong in faults.items():
        if is_wrong:
            raise ValueError(f"the declaration of step {declared.name} is wrong: {sentence}")
