"""Fast steps that behave as steps do, for testing the engine without any science."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

import cryoloom.contract.discovery as discovery
from cryoloom.contract import Gathered, Outputs, Shared, StepContext, StepParams, UsualTime, step
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import PROGRAMS_RECORD
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.model import Average, LeftOut, Microscope, Sourced, Stack, Tilt, TiltSeries

N_TILTS = 5


class FindSeriesParams(StepParams):
    n_series: int = 3
    bad: tuple[str, ...] = ()
    refuses: bool = False


@step("find_series", per="project", needs=None, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def find_series(params: FindSeriesParams, context: StepContext):
    """Find some series."""
    if params.refuses:
        raise UserInputError("nothing is called that")
    for i in range(params.n_series):
        name = f"TS_{i + 1:02d}"
        if name in params.bad:
            yield DataUnfitError("movie a.tif is missing; expected it beside the mdoc", series=name)
            continue
        tilts = tuple(Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0) for k in range(N_TILTS))
        yield TiltSeries(name, Microscope(), 2.5, tilts)


class DrawParams(StepParams):
    """Parameters."""

    brightness: float = Field(1.0, gt=0, description="Mean of the images.")
    fails_on: tuple[str, ...] = ()
    zeros: bool = False
    nan: bool = False
    flaw: str = ""
    """Another flaw of what is given: half, shape, flat, pixel, name, section, type."""
    seconds: float = 0.0
    switch: Path | None = None
    tally: Path | None = None
    """A folder that gets a file for every time this step begins."""


@step(
    "draw",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    usual_time=UsualTime(7.0),
    citations=("A. Author, A journal 1 (2001)",),
    methods="Images were drawn[ with a brightness of {brightness:g}][; the median mean was {mean:.0f}].",
    figures=(
        Figure("n_included", "tilts", "Tilts in use", "Tilts that nobody excluded."),
        Figure("mean", "", "Mean", "Mean of the images.", good="what was asked for"),
        Figure("noise_ratio", "", "Noise ratio", "A figure that cannot always be measured."),
    ),
)
def draw(series: TiltSeries, params: DrawParams, context: StepContext) -> TiltSeries:
    """Draw images."""
    if params.tally is not None:
        (params.tally / uuid.uuid4().hex).touch()
    sink = context.new_pixels("images", (N_TILTS, 8, 10), 2.5)
    for i in range(N_TILTS):
        sink[i] = context.rng.normal(params.brightness, 1, (8, 10)).astype(np.float32)
        context.progress(i + 1, N_TILTS)
        time.sleep(params.seconds / N_TILTS)
        if series.name in params.fails_on or (params.switch and params.switch.exists()):
            raise DataUnfitError("too few tilts", n_tilts=4, needed=10)
    if params.zeros:
        sink = context.new_pixels("images", (N_TILTS, 8, 10), 2.5)
        sink[:] = np.zeros((N_TILTS, 8, 10), np.float32)
    if params.nan:
        sink[2] = np.full((8, 10), np.nan, np.float32)
    context.figure("n_included", len(series.included))
    context.figure("mean", float(np.mean([sink[i] for i in range(N_TILTS)])))
    if params.brightness < 0.5:
        context.figure("noise_ratio", float("inf"), reason="the images are too dark")
    return flawed(replace(series, stack=Stack(sink, 2.5)), params.flaw, context)


@step(
    "outside_draw",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    beside="draw",
    records=(PROGRAMS_RECORD,),
    figures=(
        Figure("mean", "", "Mean", "Mean of the images."),
        Figure("n_lines", "lines", "Lines", "Lines that the program printed."),
    ),
)
def outside_draw(series: TiltSeries, params: DrawParams, context: StepContext) -> TiltSeries:
    """Draw images as an outside program would: the step ``draw`` is its native counterpart."""
    sink = context.new_pixels("images", (N_TILTS, 8, 10), 2.5)
    sink[:] = context.rng.normal(params.brightness, 1, (N_TILTS, 8, 10)).astype(np.float32)
    if series.name in params.fails_on:
        raise DataUnfitError("the program ended with the exit code 1")
    context.figure("mean", float(np.mean(sink[:])))
    context.figure("n_lines", 7)
    context.record(
        "programs", {"Drawer": {"version": "2.1", "place": "/opt/drawer", "reference": "D (2003)"}}
    )
    return replace(series, stack=Stack(sink, 2.5))


def flawed(series: TiltSeries, flaw: str, context: StepContext) -> TiltSeries:
    """The series, or what no step may give."""
    if flaw in {"half", "shape", "flat"}:
        n_y = 4 if flaw == "shape" else 8
        shape = (N_TILTS, 10) if flaw == "flat" else (N_TILTS, n_y, 10)
        even = context.new_pixels("even", shape, 2.5)
        n_written = N_TILTS - 1 if flaw == "half" else N_TILTS
        even[:n_written] = context.rng.normal(1, 1, (n_written, *shape[1:])).astype(np.float32)
        return replace(series, stack=replace(series.stack, even=even))
    if flaw == "pixel":
        return replace(series, stack=replace(series.stack, pixel_size_angstrom=5.0))
    if flaw == "name":
        return replace(series, name="another")
    if flaw == "section":
        return replace(series, tilts=tuple(replace(t, section=t.acquisition_index + 1) for t in series.tilts))
    return "not a series" if flaw == "type" else series


class PerilParams(StepParams):
    """Parameters."""

    deadly: tuple[str, ...] = ()
    n_deaths: int = 1
    counter: Path | None = None


@step(
    "peril", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1 << 30
)
def peril(series: TiltSeries, params: PerilParams, context: StepContext) -> TiltSeries:
    """Draw images, in a process that dies at some series for the first few times."""
    sink = context.new_pixels("images", (N_TILTS, 8, 10), 2.5)
    sink[:3] = context.rng.normal(1, 1, (3, 8, 10)).astype(np.float32)
    if series.name in params.deadly and params.counter is not None:
        n_before = len(list(params.counter.iterdir()))
        if n_before < params.n_deaths:
            (params.counter / str(n_before)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    sink[3:] = context.rng.normal(1, 1, (N_TILTS - 3, 8, 10)).astype(np.float32)
    return replace(series, stack=Stack(sink, 2.5))


class SmoothParams(StepParams):
    """Parameters."""

    width: int = 1
    folder: Path | None = None
    """Holds a file NAME of each series, whose content matters."""


@step(
    "smooth",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    outside=lambda name, params: file_digests([params.folder / name] if params.folder else []),
    figures=(Figure("n_included", "tilts", "Tilts in use", "Tilts that nobody excluded."),),
    records=(Record("widths", "Widths of the smoothing."),),
)
def smooth(series: TiltSeries, params: SmoothParams, context: StepContext) -> TiltSeries:
    """Smooth images."""
    images = series.unweighted_stack.images
    sink = context.new_pixels("images", images.shape, 2.5)
    for i in range(images.shape[0]):
        sink[i] = images[i] / params.width
    context.record("widths", [params.width])
    context.figure("n_included", len(series.included))
    return replace(series, weighted=Stack(sink, 2.5))


class ChooseParams(StepParams):
    """Parameters."""

    at_least: float = 0.0


@step(
    "choose",
    per="tilt_series",
    needs=object,
    gives=object,
    bytes_needed=lambda item, params: 1,
    reads_figures=True,
    ignores_exclusions=True,
)
def choose(item: object, params: ChooseParams, context: StepContext) -> object:
    """Leave out by the mean drawn, which `draw` tells as a figure."""
    mean = context.upstream_figures["mean"]
    return item if mean >= params.at_least else LeftOut(f"mean is {mean:.3g}, expected {params.at_least:g}")


class MergeParams(StepParams):
    """Parameters."""


@step(
    "merge",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    also_needs={"second_from": TiltSeries},
    figures=(Figure("merged", "", "Merged", "1 where two sets were merged."),),
)
def merge(
    series: TiltSeries, params: MergeParams, context: StepContext, *, second_from: TiltSeries
) -> TiltSeries:
    """Take the weighted images of a second set."""
    assert second_from.name == series.name
    context.figure("merged", 1.0)
    return replace(series, weighted=second_from.weighted)


class GatherParams(StepParams):
    """Parameters."""

    name: str = "all"
    gives_all: bool = True
    """Else the first series is not given on."""
    seconds: float = 0.0
    tally: Path | None = None


@step(
    "average_all",
    per="particle_set",
    needs=TiltSeries,
    gives=Average,
    also_gives={"series": TiltSeries},
    gathers=True,
    named_by="name",
    bytes_needed=lambda items, params: len(items),
    bytes_per_part=lambda items, params: 1,
    figures=(Figure("n_series", "series", "Series", "Series that were averaged."),),
)
def average_all(items: tuple[TiltSeries, ...], params: GatherParams, context: StepContext) -> Outputs:
    """Average the middle images of all series, and give each series on with its images less the average."""
    if params.tally is not None:
        (params.tally / uuid.uuid4().hex).touch()
    mean = np.mean([series.best_stack.images[2] for series in items], axis=0)
    for i in range(N_TILTS):
        context.progress(i + 1, N_TILTS)
        time.sleep(params.seconds / N_TILTS)
    volume = context.new_pixels("map", (1, 8, 10), 2.5, kind="volume")
    volume[0] = mean.astype(np.float32)
    context.figure("n_series", len(items))
    given = []
    for series in items if params.gives_all else items[1:]:
        sink = context.new_pixels(f"images_{series.name}", (N_TILTS, 8, 10), 2.5)
        for i in range(N_TILTS):
            sink[i] = series.best_stack.images[i] - mean.astype(np.float32)
        given.append(replace(series, stack=Stack(sink, 2.5), weighted=None))
    return Outputs(Average(context.item_name, volume, 2.5, n_particles=len(items)), {"series": tuple(given)})


@step(
    "turn_all",
    per="particle_set",
    needs=TiltSeries,
    gives=TiltSeries,
    gathers=True,
    bytes_needed=lambda items, params: len(items),
)
def turn_all(
    items: tuple[TiltSeries, ...], params: MergeParams, context: StepContext
) -> tuple[TiltSeries, ...]:
    """Give every series on, with the number of them as its tilt axis."""
    return tuple(replace(series, tilt_axis_deg=Sourced(measured=float(len(items)))) for series in items)


@step(
    "subtract_average",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    also_needs={"average_from": Shared(Average)},
    figures=(Figure("n_averaged", "series", "Series", "Series in the average."),),
)
def subtract_average(
    series: TiltSeries, params: MergeParams, context: StepContext, *, average_from: Average
) -> TiltSeries:
    """Subtract the average of all from each."""
    sink = context.new_pixels("images", (N_TILTS, 8, 10), 2.5)
    for i in range(N_TILTS):
        sink[i] = series.best_stack.images[i] - average_from.map[0]
    context.figure("n_averaged", average_from.n_particles or 0)
    return replace(series, weighted=Stack(sink, 2.5))


@step(
    "compare_all",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    also_needs={"all_from": Gathered(TiltSeries)},
    figures=(
        Figure("position", "", "Position", "Position among all series by name, from 0."),
        Figure("n_all", "series", "Series", "Series there are."),
    ),
)
def compare_all(
    series: TiltSeries, params: MergeParams, context: StepContext, *, all_from: tuple[TiltSeries, ...]
) -> TiltSeries:
    """Tell which of all series, sorted by name, this one is."""
    context.figure("position", [one.name for one in all_from].index(series.name))
    context.figure("n_all", len(all_from))
    return series


class SpreadParams(StepParams):
    """Parameters."""

    n_parts: int = 6
    seconds: float = 0.0
    tally: Path | None = None
    """A folder that gets a file for every part that begins, called as its process."""
    deadly_part: int = -1
    counter: Path | None = None
    """The process of the deadly part dies while this folder is empty."""
    large: bool = False


@step(
    "spread",
    per="particle_set",
    needs=TiltSeries,
    gives=Average,
    gathers=True,
    bytes_needed=lambda items, params: 1 << 20,
    bytes_per_part=lambda items, params: 1 << 20,
    figures=(Figure("n_series", "series", "Series", "Series that were averaged."),),
)
def spread(items: tuple[TiltSeries, ...], params: SpreadParams, context: StepContext) -> Average:
    """Average the images of all series with some noise, each part its share of the lines."""
    shared = np.ones((600, 600) if params.large else (2, 2))
    parts = [
        {"i": i, "series": items, "params": params.model_dump(mode="json"), "shared": shared}
        for i in range(params.n_parts)
    ]
    volume = context.new_pixels("map", (1, 8, 10), 2.5, kind="volume")
    total = np.zeros((8, 10))
    for result in context.imap(spread_part, parts):
        total += result["sum"]
    volume[0] = total.astype(np.float32)
    context.figure("n_series", len(items))
    return Average(context.item_name, volume, 2.5, n_particles=len(items))


def spread_part(part, context):
    """Sum of the series' images at the lines of a part."""
    if part["params"]["tally"] is not None:
        (Path(part["params"]["tally"]) / f"{part['i']}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    if part["i"] == part["params"]["deadly_part"]:
        counter = Path(part["params"]["counter"])
        if not list(counter.iterdir()):
            (counter / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    for i in range(5):
        context.progress(i, 5)
        time.sleep(part["params"]["seconds"] / 5)
    part["shared"] += 1  # its own
    total = np.zeros((8, 10))
    for series in part["series"]:
        image = series.best_stack.images[2] + context.rng.normal(0, 0.1, (8, 10))
        total[part["i"] :: part["params"]["n_parts"]] += image[part["i"] :: part["params"]["n_parts"]]
    return {"sum": total * part["shared"].mean()}


class OutsideParams(StepParams):
    """Parameters."""

    code: str = "print('lines from outside', flush=True)"
    in_parts: bool = False


@step(
    "outside_program",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    bytes_per_part=lambda item, params: 1,
)
def outside_program(series: TiltSeries, params: OutsideParams, context: StepContext) -> TiltSeries:
    """Run Python code as an outside program."""
    if params.in_parts:
        context.map(outside_part, [params.code, params.code])
    else:
        context.run([sys.executable, "-c", params.code])
    context.warn("it is not known what it did")
    return series


def outside_part(part, context):
    """Run it for a part."""
    context.run([sys.executable, "-c", part])
    return {}


STEPS = tuple(value for value in list(vars().values()) if hasattr(value, "declaration"))


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {function.declaration.name: function.declaration for function in STEPS}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
