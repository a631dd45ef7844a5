"""Whether the specimen's hand is right from import to poses, with mdocs as SerialEM and Tomo5 write them.

Each session has an axis of its own (near 85, -95, 0 degrees as cameras have them, or anywhere), Tomo5's
RotationAngle with either sign, and either handedness; EER for Tomo5, TIFF for SerialEM. A session is right
if the axis of the poses is the true one to 3 degrees, not the same half a turn on, which mirrors all.

    python benchmarks/tomo5_hand.py [--sessions 20] [--first 0] [--camera falcon_eer] [--wrong-reading]

``--wrong-reading`` hands the alignment the axis 90 degrees off, as TiltAxisAngle read like SerialEM's title
gives it: the images must then find the axis, and the sentence must say that its direction is not known.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cryoloom.engine.project import Project
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_session

WORKFLOW = """
name: hand
description: Movies to poses.
steps:
  - step: import_movies
  - step: prepare_gain
  - step: align_frames
  - step: align_series
"""
AXES_DEG = (85.3, -95.0, 81.4, -84.2, 2.0, -178.0, 95.8, -30.0)


def session_params(camera: str, number: int) -> SimulationParams:
    """A small session: fifteen tilts, 1.0 by 1.3 kA, with beads, its axis and signs drawn by its number."""
    rng = np.random.default_rng(number)
    axis = AXES_DEG[number % len(AXES_DEG)] + rng.uniform(-3, 3)
    return SimulationParams(
        seed=number,
        camera=camera,
        image_shape_yx=(256, 320),
        pixel_size_angstrom=4.0,
        n_frames=4,
        tilt_min_deg=-42.0,
        tilt_max_deg=42.0,
        tilt_step_deg=6.0,
        tilt_axis_deg=float(axis),
        tomo5_rotation_sign=int(rng.choice([-1, 1])),
        handedness=int(rng.choice([-1, 1])),
    )


def main() -> None:
    """Print one line a session and the number that are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first session to run")
    parser.add_argument("--camera", choices=("falcon_eer", "k3_tiff"), action="append")
    parser.add_argument("--wrong-reading", action="store_true")
    asked = parser.parse_args()
    for camera in asked.camera or ("falcon_eer", "k3_tiff"):
        right = 0
        for number in range(asked.first, asked.sessions):
            params = session_params(camera, number)
            with tempfile.TemporaryDirectory() as folder:
                found, notes = _axis_of_poses(params, Path(folder), wrong_reading=asked.wrong_reading)
            off = (found - params.tilt_axis_deg + 180.0) % 360.0 - 180.0
            fine = abs(off) < 3.0
            right += fine
            print(
                f"{camera} {number:2d}: axis {params.tilt_axis_deg:7.1f}, hand {params.handedness:+d}, "
                f"found {found:7.1f} {'right' if fine else 'MIRRORED' if abs(off) > 90 else 'WRONG'} {notes}",
                flush=True,
            )
        print(f"{camera}: {right} of {asked.sessions - asked.first} right")


def _axis_of_poses(params: SimulationParams, folder: Path, *, wrong_reading: bool) -> tuple[float, str]:
    """Mean axis of the poses after import, motion correction and alignment, and what was said of the axis."""
    simulate_session(params, folder / "raw")
    project = Project.create(folder / "project")
    workflow = folder / "hand.yaml"
    workflow.write_text(WORKFLOW)
    given = {"tilt_axis_deg": params.tilt_axis_deg + 90.0} if wrong_reading else {}
    project.process(folder / "raw", workflow=workflow, device="cpu", **given)
    result = next(one for one in project.results() if one.step == "align_series")
    if result.state != "done":
        return float("nan"), str(result.error)
    notes = [warning for warning in result.warnings if "tilt axis" in warning]
    return result.figures["tilt_axis_deg"], notes[0][:60] if notes else ""


if __name__ == "__main__":
    main()
