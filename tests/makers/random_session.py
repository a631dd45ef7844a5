"""Small simulated sessions drawn at random, processed by the default workflow and judged by their truth.

A verdict is one of: *internal* (the program stopped, or an item failed, for a reason that is not one of the
data), *silent* (a result is wrong and nothing says so), *flagged* (wrong, and said to be), *unfit* (refused
for a reason of the data) and *right*.
"""

from __future__ import annotations

import math
import re
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import cryoloom
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.history.results import final_items
from cryoloom.errors import CryoloomError
from cryoloom.model import TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom, defocus_errors_at_origin_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_session
from cryoloom.simulate.truth import Truth

MOST_PIXELS = 3e7
"""Of all frames of a series: frames are left out where there would be more."""
SIDES_PX = (256, 256, 256, 256, 256, 256, 320, 320, 320, 384, 384, 384, 512, 512, 640, 1024)
WIDEST_FIELD_ANGSTROM = 3000.0
"""Of large pixels there are fewer: a wide field takes minutes to simulate."""
WRONG_POSE_PIXELS, ALIGNMENT_PIXEL_ANGSTROM = 3.0, 11.0
WRONG_DEFOCUS_ANGSTROM = 1000.0
WRONG_THICKNESS_PART = 0.15
REACH_OF_DEPTH_DEG = 12.0
"""Below it nothing tells how high a point lies, so the defocus at the origin cannot be compared."""
DATA_REASONS = (
    "too few tilts for alignment",
    "could be tracked",
    "tilts could be aligned",
    "every tilt is excluded",
    "need at least",
)
"""Of these an item may fail: its data hold no more."""
POSE_DOUBTS = ("disagree", "hold the series together")
"""Warnings that doubt poses which are not marked as predicted."""
THICKNESS_DOUBTS = ("the thickness is known to", "the middle of the specimen was not found")
EVERY_DEFOCUS_DOUBTS = ("only gold shows Thon rings", "the measured defocus is taken to be that of z = 0")
NAMED_DEFOCUS = re.compile(r"the defocus of tilts \[([\d, ]*)\]")
"""Warnings count for what they name: one of other tilts or of another quantity tells nothing."""


def drawn_session(i: int) -> SimulationParams:
    """Session ``i``: 0 to 40 beads, 5 to 61 tilts to 3 to 70 degrees, 1 to 20 frames, 256 to 1024 pixels of
    1 to 10 A, TIFF, MRC or EER, any order of tilts, dark and shifted tilts."""
    rng = np.random.default_rng([2026, i])
    n_tilts, reach = int(rng.integers(5, 62)), float(rng.uniform(3, 70))
    pixel = float(np.exp(rng.uniform(0, math.log(10))))
    side = min(int(rng.choice(SIDES_PX)), max(256, int(WIDEST_FIELD_ANGSTROM / pixel) // 2 * 2))
    shape = (side, int(rng.choice([side, 4 * side // 3 // 2 * 2])))
    flaws = [int(t) for t in rng.permutation(n_tilts)]
    n_dark, n_shifted = (int(rng.choice([0, 0, 1, 2])) if n_tilts > 8 else 0 for _ in range(2))
    most_frames = max(1, int(MOST_PIXELS / (n_tilts * math.prod(shape))))
    area = math.prod(shape) * pixel**2 / 1e6  # of 100 x 100 nm
    return SimulationParams(
        seed=i,
        n_beads=int(rng.integers(0, 41)),
        beads_lie=str(rng.choice(["inside", "on_top", "below", "on_both"])),
        n_particles=round(float(rng.uniform(0, 1)) * min(15 * area, 120)),
        n_vesicles=round(float(rng.uniform(0, 1)) * min(area, 6)),
        n_membranes=round(float(rng.uniform(0, 1)) * min(0.5 * area, 2)),
        tilt_min_deg=-reach,
        tilt_max_deg=reach,
        tilt_step_deg=2 * reach / (n_tilts - 1),
        scheme=str(rng.choice(["dose_symmetric", "continuous", "bidirectional"])),
        image_shape_yx=shape,
        pixel_size_angstrom=round(pixel, 3),
        n_frames=min(most_frames, int(rng.integers(1, 21))),
        eer_raw_frames=int(rng.integers(20, 60)),
        camera=str(rng.choice(["k3_tiff", "k3_mrc", "falcon_eer"])),
        thickness_angstrom=float(rng.uniform(300, 2500)),
        z_offset_angstrom=float(rng.uniform(-300, 300)),
        pretilt_y_deg=float(rng.choice([0.0, -2.5, 9.0])),
        defocus_angstrom=float(rng.uniform(15000, 60000)),
        dose_per_tilt_per_angstrom2=float(rng.uniform(1.5, 4.0)),
        handedness=int(rng.choice([-1, 1])),
        dark_tilts=tuple(flaws[:n_dark]),
        shifted_tilts=tuple(flaws[n_dark : n_dark + n_shifted]),
    )


def describe(params: SimulationParams) -> str:
    """In a line."""
    return (
        f"{params.n_beads} beads {params.beads_lie}, "
        f"{n_tilts(params)} tilts to {params.tilt_max_deg:.0f} deg, "
        f"{params.n_frames} frames, {params.image_shape_yx[1]} x {params.image_shape_yx[0]} of "
        f"{params.pixel_size_angstrom:g} A, {params.camera}, {len(params.dark_tilts)} dark, "
        f"{len(params.shifted_tilts)} shifted, ice {params.thickness_angstrom:.0f} A, "
        f"{params.n_particles} particles, {params.dose_per_tilt_per_angstrom2:.1f} e/A2"
    )


def n_tilts(params: SimulationParams) -> int:
    """As many as are taken."""
    return 1 + round((params.tilt_max_deg - params.tilt_min_deg) / params.tilt_step_deg)


def is_ordinary(params: SimulationParams) -> bool:
    """Whether a user expects a tomogram: a field of 1500 A, 15 tilts over 60 degrees, something to see."""
    field = min(params.image_shape_yx) * params.pixel_size_angstrom
    seen = params.n_beads >= 8 or params.n_particles >= 20
    return field >= 1500 and n_tilts(params) >= 15 and params.tilt_max_deg >= 30 and seen


def process_session(
    params: SimulationParams, folder: Path, parameters: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Simulate a session in a folder, process it, and judge what came out: the verdict and its reasons."""
    begin = time.perf_counter()
    truth = simulate_session(params, folder / "raw")
    made = time.perf_counter()
    line: dict[str, Any] = {"what": describe(params), "ordinary": is_ordinary(params)}
    project = cryoloom.Project.create(folder / "project")
    stopped = []
    try:
        project.process(folder / "raw", parameters=parameters or {}, executor=InProcessExecutor("cpu"))
    except CryoloomError as error:
        stopped = [f"stopped: {error}"]
    except Exception:  # noqa: BLE001  whatever stops the program is what is looked for
        stopped = [traceback.format_exc()[-1500:]]
    line |= {
        "simulated_s": round(made - begin, 1),
        "processed_s": round(time.perf_counter() - made, 1),
    }
    line |= _judged(project, truth)
    line["internal"] = stopped + line["internal"]
    return line | {"verdict": _verdict(line)}


def _verdict(line: dict[str, Any]) -> str:
    for kind in ("internal", "silent", "unfit", "flagged"):
        if line.get(kind):
            return kind
    return "right"


def _judged(project: cryoloom.Project, truth: Truth) -> dict[str, Any]:
    internal, unfit, warnings = [], [], []
    figures: dict[str, float] = {}
    aligned = finished = False
    for one in project.results():
        warnings += [f"{one.step}: {text}" for text in one.warnings]
        if one.state == "failed":
            text = f"{one.step}: {one.error}"
            fits = any(reason in str(one.error) for reason in DATA_REASONS)
            (unfit if fits else internal).append(text)
        if one.step == "align_series" and one.state == "done":
            aligned, figures = True, dict(one.figures)
        finished |= one.step == "reconstruct" and one.state == "done"
    if not (finished or unfit or internal):
        internal = ["no tomogram, and nothing says why"]
    line: dict[str, Any] = {"internal": internal, "unfit": unfit, "warnings": warnings}
    series = _series_of(project) if aligned else None
    if series is None:
        return line
    return line | _compared(series, truth, figures, warnings, _reported_pose_errors(project))


def doubted_defoci(warnings: list[str]) -> set[int]:
    """Acquisition indices of the tilts whose defocus warnings doubt by name."""
    named = [match[1] for text in warnings for match in NAMED_DEFOCUS.finditer(text)]
    return {int(number) for numbers in named for number in numbers.split(",") if number.strip()}


def _any_of(reasons: tuple[str, ...], warnings: list[str]) -> bool:
    return any(reason in text for reason in reasons for text in warnings)


def _series_of(project: cryoloom.Project) -> TiltSeries | None:
    """The series as the last step that gave one left it."""
    for item in final_items(project.database):
        if item.state == "done":
            value = project.value(item)
            return value if isinstance(value, TiltSeries) else value.series
    return None


def _reported_pose_errors(project: cryoloom.Project) -> dict[int, float]:
    """Error that `align_series` reported for each tilt, by acquisition index."""
    reported: dict[int, float] = {}
    for item in project.database.items(with_values=False, with_records=True):
        record = item.records.get("alignment")
        if record:
            pairs = zip(record["acquisition_index"], record["pose_error_angstrom"], strict=True)
            reported = {i: error for i, error in pairs if error is not None}
    return reported


def _compared(
    series: TiltSeries,
    truth: Truth,
    figures: dict[str, float],
    warnings: list[str],
    reported_of_tilts: dict[int, float],
) -> dict[str, Any]:
    """Poses and defocus beside the truth. Of the specimen and its mirror image the nearer is taken."""
    placed = {t.acquisition_index: t.pose for t in series.included if t.pose and not t.pose.predicted}
    seen = replace(series, tilts=tuple(t for t in series.tilts if t.acquisition_index in placed))
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    mirrored = seen.with_tilts(
        {i: {"pose": replace(pose, axis_deg=pose.axis_deg + 180.0)} for i, pose in placed.items()}
    )
    error = min(
        (alignment_error_angstrom(truth, one, points, robust=True) for one in (seen, mirrored)),
        key=lambda one: float(np.median(list(one.per_tilt_angstrom.values()))),
    )
    reported = figures.get("pose_error_angstrom")
    limit = WRONG_POSE_PIXELS * max(ALIGNMENT_PIXEL_ANGSTROM, series.pixel_size_angstrom)
    wrong = [i for i, off in error.per_tilt_angstrom.items() if off > max(limit, 3 * (reported or 0))]
    found: dict[str, list[str]] = {"silent": [], "flagged": []}
    if wrong:
        said = reported is None or _any_of(POSE_DOUBTS, warnings)
        found["flagged" if said else "silent"].append(
            f"poses of {len(wrong)} tilts {wrong[:8]} are off by up to "
            f"{max(error.per_tilt_angstrom.values()):.0f} A"
        )
    defocus = {}
    if max(abs(t.nominal_tilt_deg) for t in series.included) > REACH_OF_DEPTH_DEG:
        own = {t.acquisition_index for t in series.included if t.ctf is not None and not t.ctf.predicted}
        every = defocus_errors_at_origin_angstrom(truth, series)
        defocus = {i: off for i, off in every.items() if i in own}
    lost = [i for i, off in defocus.items() if abs(off) > WRONG_DEFOCUS_ANGSTROM]
    if lost:
        said = set(lost) <= doubted_defoci(warnings) or _any_of(EVERY_DEFOCUS_DOUBTS, warnings)
        found["flagged" if said else "silent"].append(
            f"the defocus of {lost} is off by up to {max(map(abs, defocus.values())):.0f} A"
        )
    thickness, its_error = figures.get("thickness_angstrom"), figures.get("thickness_error_angstrom")
    if thickness is not None and its_error is not None:
        off = thickness - truth.thickness_angstrom
        if abs(off) > 3 * its_error + WRONG_THICKNESS_PART * truth.thickness_angstrom:
            said = _any_of(THICKNESS_DOUBTS, warnings)
            found["flagged" if said else "silent"].append(
                f"the thickness is {thickness:.0f} +- {its_error:.0f} A for {truth.thickness_angstrom:.0f} A"
            )
    return {
        "method": series.tilt_axis_deg.measured_by,
        "pose_rms_angstrom": round(error.rms_angstrom, 1),
        "pose_reported_angstrom": reported,
        "tilts_within": sum(
            error.per_tilt_angstrom[i] < e for i, e in reported_of_tilts.items() if i in placed
        ),
        "tilts_reported": sum(i in placed for i in reported_of_tilts),
        "true_and_reported_angstrom": [
            (round(error.per_tilt_angstrom[i], 2), round(e, 2))
            for i, e in reported_of_tilts.items()
            if i in placed
        ],
        "defocus_median_angstrom": round(float(np.median(np.abs(list(defocus.values())))))
        if defocus
        else None,
        "thickness_off_angstrom": round(thickness - truth.thickness_angstrom) if thickness else None,
        "thickness_reported_angstrom": round(its_error) if its_error else None,
        "n_excluded": sum(tilt.is_excluded for tilt in series.tilts),
        **found,
    }
