"""The default workflow on small simulated sessions drawn at random: nothing fails for an internal reason.

Every session is another mixture: 0 to 40 gold beads inside the ice or on its surfaces, 5 to 61 tilts to 3 to
70 degrees, 1 to 20 frames, 256 to 1024 pixels of 1 to 10 A, TIFF, MRC or EER, any order of tilts, dark and
shifted tilts. Each is simulated, processed by the command line and compared with its truth; a line a session
is added to the file of --results, and sessions that have one are left out, so that it can be stopped.

    python benchmarks/random_sessions.py --sessions 200 --results sessions.jsonl
    python benchmarks/random_sessions.py --results sessions.jsonl --summary

A session is *internal* where the program stopped, or an item failed, for a reason that is not one of the
data. It is *silent* where a result is wrong and nothing says so: poses further from the truth than
WRONG_POSE_PIXELS pixels of alignment and three times what was reported, or a defocus off by more than
WRONG_DEFOCUS_ANGSTROM, in a tilt that is neither excluded nor marked as predicted, of a series without a
warning about it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import cryoloom
from cryoloom.model import TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_session
from cryoloom.simulate.truth import Truth

MOST_PIXELS = 3e8
"""Of all frames of a series: frames are left out where there would be more."""
SIDES_PX = (256, 256, 320, 384, 384, 512, 512, 640, 768, 1024)
WRONG_POSE_PIXELS, ALIGNMENT_PIXEL_ANGSTROM = 3.0, 11.0
WRONG_DEFOCUS_ANGSTROM = 3000.0
DATA_REASONS = (
    "too few tilts for alignment",
    "could be followed",
    "tilts could be aligned",
    "beads nor anything of the specimen",
    "every tilt is excluded",
    "need at least",
    "nothing of the specimen",
)
"""Of these an item may fail: its data hold no more."""


def drawn(i: int) -> SimulationParams:
    """Session ``i``."""
    rng = np.random.default_rng([2026, i])
    n_tilts, reach = int(rng.integers(5, 62)), float(rng.uniform(3, 70))
    side = int(rng.choice(SIDES_PX))
    shape = (side, int(rng.choice([side, 4 * side // 3 // 2 * 2])))
    pixel = float(np.exp(rng.uniform(0, math.log(10))))
    flaws = [int(t) for t in rng.permutation(n_tilts)]
    n_dark, n_shifted = (int(rng.choice([0, 0, 1, 2])) if n_tilts > 8 else 0 for _ in range(2))
    most_frames = max(1, int(MOST_PIXELS / (n_tilts * math.prod(shape))))
    camera = str(rng.choice(["k3_tiff", "k3_mrc", "falcon_eer"]))
    return SimulationParams(
        seed=i,
        n_beads=int(rng.integers(0, 41)),
        beads_lie=str(rng.choice(["inside", "on_top", "below", "on_both"])),
        n_particles=int(rng.integers(0, 120)),
        tilt_min_deg=-reach,
        tilt_max_deg=reach,
        tilt_step_deg=2 * reach / (n_tilts - 1),
        scheme=str(rng.choice(["dose_symmetric", "continuous", "bidirectional"])),
        image_shape_yx=shape,
        pixel_size_angstrom=round(pixel, 3),
        n_frames=min(most_frames, int(rng.integers(1, 21))),
        eer_raw_frames=int(rng.integers(20, 120)),
        camera=camera,
        thickness_angstrom=float(rng.uniform(300, 2500)),
        z_offset_angstrom=float(rng.uniform(-300, 300)),
        pretilt_y_deg=float(rng.choice([0.0, -2.5, 9.0])),
        defocus_angstrom=float(rng.uniform(15000, 60000)),
        dose_per_tilt_per_angstrom2=float(rng.uniform(1.5, 4.0)),
        handedness=int(rng.choice([-1, 1])),
        dark_tilts=tuple(flaws[:n_dark]),
        shifted_tilts=tuple(flaws[n_dark : n_dark + n_shifted]),
    )


def processed(i: int, folder: Path, set_parameters: list[str]) -> dict[str, Any]:
    """Simulate and process session ``i``; the line of it."""
    params = drawn(i)
    begin = time.perf_counter()
    simulate_session(params, folder / "raw")
    made = time.perf_counter()
    command = [_program(), "process", str(folder / "raw")]
    command += ["--project", str(folder / "project"), "--device", "cpu"]
    for choice in set_parameters:
        command += ["--set", choice]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    line: dict[str, Any] = {
        "session": i,
        "what": _described(params),
        "exit": ran.returncode,
        "simulated_s": round(made - begin, 1),
        "processed_s": round(time.perf_counter() - made, 1),
    }
    if "Traceback" in ran.stdout + ran.stderr:
        return line | {"internal": [(ran.stdout + ran.stderr)[-1500:]]}
    project = cryoloom.Project.open(folder / "project")
    return line | _judged(project, Truth.load(folder / "raw" / "truth.json"))


def _program() -> str:
    """The command beside this interpreter, else the first on the path."""
    beside = Path(sys.executable).with_name("cryoloom")
    return str(beside) if beside.exists() else shutil.which("cryoloom") or "cryoloom"


def _described(params: SimulationParams) -> str:
    n_tilts = 1 + round((params.tilt_max_deg - params.tilt_min_deg) / params.tilt_step_deg)
    return (
        f"{params.n_beads} beads {params.beads_lie}, {n_tilts} tilts to {params.tilt_max_deg:.0f} deg, "
        f"{params.n_frames} frames, {params.image_shape_yx[1]} x {params.image_shape_yx[0]} of "
        f"{params.pixel_size_angstrom:g} A, {params.camera}, {len(params.dark_tilts)} dark, "
        f"{len(params.shifted_tilts)} shifted, ice {params.thickness_angstrom:.0f} A"
    )


def _judged(project: cryoloom.Project, truth: Truth) -> dict[str, Any]:
    results = project.results()
    internal, unfit, warnings = [], [], []
    for one in results:
        warnings += [f"{one.step}: {text}" for text in one.warnings]
        if one.state == "failed":
            text = f"{one.step}: {one.error}"
            fits = any(reason in str(one.error) for reason in DATA_REASONS)
            (unfit if fits else internal).append(text)
    aligned = [one for one in results if one.step == "align_series" and one.state == "done"]
    line: dict[str, Any] = {"internal": internal, "unfit": unfit, "warnings": warnings}
    if not aligned:
        return line
    figures = dict(aligned[-1].figures)
    series = _series_of(project)
    if series is None:
        return line
    return line | _compared(series, truth, figures, warnings)


def _series_of(project: cryoloom.Project) -> TiltSeries | None:
    """The series as the last step that gave one left it."""
    from cryoloom.engine.history.results import final_items

    for item in final_items(project.database):
        if item.state == "done":
            value = project.value(item)
            return value if isinstance(value, TiltSeries) else value.series
    return None


def _compared(
    series: TiltSeries, truth: Truth, figures: dict[str, float], warnings: list[str]
) -> dict[str, Any]:
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    error = alignment_error_angstrom(truth, series, points)
    told = figures.get("pose_error_angstrom")
    limit = WRONG_POSE_PIXELS * max(ALIGNMENT_PIXEL_ANGSTROM, series.pixel_size_angstrom)
    silent = []
    marked = {t.acquisition_index for t in series.included if t.pose is not None and t.pose.predicted}
    wrong = [
        i
        for i, off in error.per_tilt_angstrom.items()
        if off > max(limit, 3 * (told or 0)) and i not in marked
    ]
    if wrong and not any(text.startswith("align_series") for text in warnings):
        silent.append(f"poses of {wrong} are off by up to {max(error.per_tilt_angstrom.values()):.0f} A")
    lost = [
        tilt.acquisition_index
        for tilt in series.included
        if tilt.ctf is not None
        and not tilt.ctf.predicted
        and abs(tilt.ctf.defocus_angstrom - truth.tilt(tilt.acquisition_index).defocus_angstrom)
        > WRONG_DEFOCUS_ANGSTROM
    ]
    if lost and not any(text.startswith("estimate_ctf") for text in warnings):
        silent.append(f"the defocus of {lost} is off by more than {WRONG_DEFOCUS_ANGSTROM:.0f} A")
    return {
        "method": series.tilt_axis_deg.measured_by,
        "pose_rms_angstrom": round(error.rms_angstrom, 1),
        "pose_told_angstrom": told,
        "n_excluded": sum(tilt.is_excluded for tilt in series.tilts),
        "silent": silent,
    }


def summary(path: Path) -> None:
    """Counts over all lines, and every session that is internal or silent."""
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        for kind in ("internal", "silent"):
            for text in line.get(kind, []):
                print(f"{line['session']:4d} {kind}: {text}\n     {line['what']}")
    reasons = Counter(text.split("(")[0][:70] for line in lines for text in line.get("unfit", []))
    print(
        f"{len(lines)} sessions: {sum(bool(x.get('internal')) for x in lines)} internal failures, "
        f"{sum(bool(x.get('silent')) for x in lines)} silently wrong, "
        f"{sum(bool(x.get('unfit')) for x in lines)} unfit"
    )
    for reason, count in reasons.most_common():
        print(f"  {count:4d} {reason}")
    told = [(x["pose_rms_angstrom"], x["pose_told_angstrom"]) for x in lines if x.get("pose_told_angstrom")]
    if told:
        ratio = np.array([true / said for true, said in told])
        print(
            f"  true over reported pose error: median {np.median(ratio):.1f}, "
            f"within it {np.mean(ratio < 1):.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("random_sessions.jsonl"))
    parser.add_argument("--keep", type=Path, help="keep the sessions' folders here")
    parser.add_argument("--set", action="append", default=[], metavar="STEP.PARAMETER=VALUE")
    parser.add_argument("--summary", action="store_true", help="only read the results")
    arguments = parser.parse_args()
    done = set()
    if arguments.results.is_file():
        done = {json.loads(text)["session"] for text in arguments.results.read_text().splitlines()}
    for i in range(arguments.first, 0 if arguments.summary else arguments.sessions):
        if i in done:
            continue
        folder = Path(tempfile.mkdtemp(prefix="cryoloom-session-"))
        line = processed(i, folder, arguments.set)
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if arguments.keep is None:
            shutil.rmtree(folder)
        else:
            shutil.move(folder, arguments.keep / f"{i:03d}")
    summary(arguments.results)


if __name__ == "__main__":
    main()
