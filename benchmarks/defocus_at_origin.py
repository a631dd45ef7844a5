"""Defocus at the origin of the poses against the truth, wherever the alignment puts that origin.

Simulated series of 31 tilts to 60 degrees, 512 x 512 pixels of 4 A: gold on the upper or lower surface, on
both, none, a lamella with a pretilt of 10 degrees, tilts to 14 degrees only, few features; both hands;
--mirrored: the nominal axis half a turn off, which gives the mirrored specimen and the other hand.
estimate_ctf first, then the alignment.

Alignments: own (align_series), or the true poses with their origin 450 A away, written as another program's
files and imported: imod, aretomo; imod_tomogram, with a SHIFT in tilt.com to the centre of IMOD's tomogram;
imod_turned and aretomo_turned, by a program that took the opposite direction of the tilt axis. --centre moves
the origin of imported poses to the middle of the specimen. --true-ctf imports the true defocus of the ice as
a table of CTFFIND, so that only the geometry counts.

Prints, in angstrom: error of the defocus the rings show (median and mean over tilts), error at the origin
(median, mean, 90 %), true and found thickness, height of the middle above the tracks with its error.

    python benchmarks/defocus_at_origin.py [--cases top1500 ...] [--seeds 1 2] [--alignments own imod ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignment_accuracy import QuietContext
from cryoloom.algorithms.series.specimen_frame import series_from_frame
from cryoloom.formats.aretomo.aln import write_aretomo
from cryoloom.formats.ctf_programs.ctffind import write_ctffind
from cryoloom.formats.imod.export import write_imod
from cryoloom.model import Sourced, TiltSeries
from cryoloom.simulate.assess import defocus_errors_at_origin_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from cryoloom.steps.import_alignment import ImportAlignmentParams, import_alignment
from cryoloom.steps.import_ctf import ImportCtfParams, import_ctf
from kept_series import kept_series

FIELD: dict[str, Any] = {
    "image_shape_yx": (512, 512),
    "pixel_size_angstrom": 4.0,
    "tilt_step_deg": 4.0,
    "n_particles": 60,
    "n_vesicles": 5,
}
CASES: dict[str, dict[str, Any]] = {
    "top1500": {
        "n_beads": 14,
        "beads_lie": "on_top",
        "thickness_angstrom": 1500.0,
        "z_offset_angstrom": -750.0,
    },
    "both1400": {
        "n_beads": 14,
        "beads_lie": "on_both",
        "thickness_angstrom": 1400.0,
        "z_offset_angstrom": 300.0,
        "handedness": -1,
    },
    "none1200": {"n_beads": 0, "z_offset_angstrom": 200.0, "pretilt_y_deg": 2.0},
    "lamella1800": {
        "n_beads": 0,
        "thickness_angstrom": 1800.0,
        "z_offset_angstrom": 0.0,
        "pretilt_y_deg": 10.0,
        "handedness": -1,
    },
    "below900": {"n_beads": 8, "beads_lie": "below", "thickness_angstrom": 900.0, "z_offset_angstrom": -60.0},
    "top600": {
        "n_beads": 10,
        "beads_lie": "on_top",
        "thickness_angstrom": 600.0,
        "z_offset_angstrom": 100.0,
        "handedness": -1,
    },
    # Features do not show the other surface: the range of tilts is short, or there are few of them.
    "short1800": {
        "n_beads": 20,
        "beads_lie": "on_top",
        "thickness_angstrom": 1800.0,
        "z_offset_angstrom": -900.0,
        "n_particles": 20,
        "n_vesicles": 0,
        "n_membranes": 0,
        "tilt_min_deg": -14.0,
        "tilt_max_deg": 14.0,
        "tilt_step_deg": 1.0,
    },
    "bare2200": {
        "n_beads": 15,
        "beads_lie": "below",
        "thickness_angstrom": 2200.0,
        "z_offset_angstrom": 0.0,
        "n_particles": 8,
        "n_vesicles": 0,
        "n_membranes": 0,
        "handedness": -1,
    },
}

ALIGNMENTS = ("own", "imod", "imod_tomogram", "imod_turned", "aretomo", "aretomo_turned")
ORIGIN_XYZ_ANGSTROM = (120.0, -90.0, 430.0)
"""Of imported poses, in the frame of the true ones."""
SHIFT_Z_PX = 50
"""Of imod_tomogram."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--alignments", nargs="+", default=["own"], choices=ALIGNMENTS)
    parser.add_argument("--mirrored", action="store_true")
    parser.add_argument("--centre", action="store_true")
    parser.add_argument("--true-ctf", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-defocus")
    asked = parser.parse_args()
    print(
        f"{'case':12s}{'seed':>5s}{'hand':>5s}{'found':>6s}{'rings':>7s}{'mean':>6s}{'origin':>8s}{'mean':>6s}"
        f"{'90 %':>6s}{'thick':>7s}{'found':>7s}{'height':>8s}{'±':>5s}{'s':>6s}  by"
    )
    for case in asked.cases:
        for seed in asked.seeds:
            series, truth = kept_series(
                SimulationParams(**(FIELD | CASES[case] | {"seed": seed})), asked.cache
            )
            nominal_deg = truth.told_axis_deg + (180.0 if asked.mirrored else 0.0)
            series = replace(series, tilt_axis_deg=Sourced.from_told(nominal_deg, "mdoc"))
            if asked.true_ctf:
                seen = with_true_ctfs_of_ice(series, truth, mirrored=asked.mirrored)
            else:
                seen = estimate_ctf(series, EstimateCtfParams(), QuietContext())  # type: ignore[arg-type]
            for alignment in asked.alignments:
                measure(f"{case:12s}{seed:5d}", seen, truth, alignment, asked)


def with_true_ctfs_of_ice(series: TiltSeries, truth: Truth, *, mirrored: bool) -> TiltSeries:
    """The series with the true CTFs of the ice's middle, read from a table of CTFFIND."""
    ctfs = truth.with_true_ctfs(series)
    change = {
        t.acquisition_index: truth.defocus_of_ice_angstrom(t.acquisition_index) - t.ctf.defocus_angstrom
        for t in ctfs.tilts
        if t.ctf is not None
    }
    of_ice = ctfs.with_tilts(
        {
            t.acquisition_index: {
                "ctf": replace(
                    t.ctf,
                    defocus_u_angstrom=t.ctf.defocus_u_angstrom + change[t.acquisition_index],
                    defocus_v_angstrom=t.ctf.defocus_v_angstrom + change[t.acquisition_index],
                )
            }
            for t in ctfs.tilts
            if t.ctf is not None
        }
    )
    hand = Sourced(
        measured=-float(truth.handedness) if mirrored else float(truth.handedness), measured_by="truth"
    )
    hand = replace(hand, applied=hand.measured)
    with tempfile.TemporaryDirectory() as folder:
        write_ctffind(Path(folder) / f"{series.name}_ctf.txt", of_ice)
        params = ImportCtfParams(folder=Path(folder), program="ctffind")
        return import_ctf(replace(series, handedness=hand), params, QuietContext())  # type: ignore[arg-type]


def imported(
    seen: TiltSeries, truth: Truth, alignment: str, context: QuietContext, *, centre: bool
) -> TiltSeries:
    """The true poses from another origin, written in another program's files and read from them."""
    posed = series_from_frame(truth.with_true_poses(seen), ORIGIN_XYZ_ANGSTROM)
    nominal = seen.tilt_axis_deg.applied or 0.0
    true = truth.tilt_axis_deg
    if (abs((nominal - true + 180.0) % 360.0 - 180.0) > 90.0) != alignment.endswith("turned"):
        posed = posed.with_tilts(
            {
                t.acquisition_index: {"pose": replace(t.pose, axis_deg=t.pose.axis_deg - 180.0)}
                for t in posed.tilts
                if t.pose is not None
            }
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (write_aretomo if alignment.startswith("aretomo") else write_imod)([(posed, None)], folder)
        for command in folder.rglob("tilt.com"):
            if alignment == "imod_tomogram":
                command.write_text(command.read_text().replace("SHIFT 0.0 0.0", f"SHIFT 0.0 {SHIFT_Z_PX}"))
        params = ImportAlignmentParams(
            folder=folder,
            centre_specimen=centre,
            origin="tomogram" if alignment == "imod_tomogram" else "images",
        )
        return import_alignment(seen, params, context)  # type: ignore[arg-type]


def measure(name: str, seen: TiltSeries, truth: Truth, alignment: str, asked: argparse.Namespace) -> None:
    """Align one series and print its line."""
    begin = time.process_time()
    context = QuietContext()
    if alignment == "own":
        aligned = align_series(seen, AlignSeriesParams(), context)  # type: ignore[arg-type]
    else:
        aligned = imported(seen, truth, alignment, context, centre=asked.centre)
    rings = np.array(
        [
            tilt.ctf.defocus_angstrom - truth.defocus_of_ice_angstrom(tilt.acquisition_index)
            for tilt in seen.included
            if tilt.ctf is not None
        ]
    )
    errors = np.array(list(defocus_errors_at_origin_angstrom(truth, aligned).values()) or [np.nan])
    place = ("thickness_angstrom", "middle_height_angstrom", "middle_error_angstrom")
    thickness, height, its_error = (context.figures.get(name, np.nan) for name in place)
    print(
        f"{name}{truth.handedness:+5d}{aligned.handedness.applied or 0:+6.0f}"
        f"{np.median(np.abs(rings)):7.0f}{rings.mean():+6.0f}{np.median(np.abs(errors)):8.0f}"
        f"{errors.mean():+6.0f}{np.percentile(np.abs(errors), 90):6.0f}{truth.thickness_angstrom:7.0f}"
        f"{thickness:7.0f}{height:8.0f}{its_error:5.0f}{time.process_time() - begin:6.0f}"
        f"  {alignment}: {aligned.tilt_axis_deg.measured_by}",
        flush=True,
    )
    for warning in context.warnings:
        print("   warning:", warning)


if __name__ == "__main__":
    main()
