"""A small project with planted faults, recorded as the engine records: truth is that of the simulator.

Five series of 13 tilts. TS_01 is good. TS_02 has a dark tilt (acquisition 9), found and left out. TS_03 has a
tilt shifted by 17 % (11), found and left out, and a CTF that failed (8). TS_04 has a misplaced bead, a gap
in a track, and a slab 40 nm too thin. The fifth has a name that is markup, and failed in its alignment.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.geometry.projection import projection_matrices
from cryoloom.geometry.rotations import rotation_y
from cryoloom.model import (
    Average,
    Ctf,
    Exclusion,
    FscCurve,
    ParticleRows,
    Particles,
    Slab,
    Sourced,
    Stack,
    TiltSeries,
    Tomogram,
)
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.simulate.truth import Truth
from cryoloom.steps.align_series import AlignSeriesParams
from cryoloom.store.codec import decode, encode, fingerprint
from cryoloom.store.database import Database
from cryoloom.store.records import FileRecord, ItemRecord, RunRecord

HOSTILE = '<img src=x onerror=alert(5)>TS "5"'
NAMES = ("TS_01", "TS_02", "TS_03", "TS_04", HOSTILE)
DARK, SHIFTED, BAD_CTF = ("TS_02", 9), ("TS_03", 11), ("TS_03", 8)
MISPLACED = ("TS_04", 4, 2)
GAP = ("TS_04", 6, 4)
"""Series, track and acquisition index of the misplaced bead, and of the gap."""
MISPLACED_BY_ANGSTROM = (90.0, -60.0)
FURTHER_MISPLACED = {
    ("TS_04", 0, 3): (40.0, -40.0),
    ("TS_04", 20, 6): (-36.0, 38.0),
    ("TS_04", 9, 1): (30.0, 38.0),
    ("TS_04", 0, 8): (-30.0, -32.0),
}
"""Series, track and acquisition index of more beads, and by how much, for a project that asks for them."""
VESICLE_RADIUS_ANGSTROM = 320.0
TOO_THIN_BY_ANGSTROM = 400.0
PARAMS = SimulationParams(
    seed=11,
    tilt_step_deg=9.0,
    tilt_min_deg=-54.0,
    tilt_max_deg=54.0,
    image_shape_yx=(120, 160),
    pixel_size_angstrom=16.0,
    n_frames=3,
    dark_tilts=(DARK[1],),
    defocus_angstrom=60_000.0,
    n_particles=0,
    crowd_phase_rad=0.0,
    n_vesicles=2,
    n_membranes=0,
    n_beads=8,
    bead_diameter_angstrom=150.0,
)
_SPECIMENS = (0, 1, 0, 3, 0)  # three are enough, and simulating takes seconds
VOLUME_SHAPE = (60, 120, 160)


@dataclass(frozen=True)
class MadeProject:
    """The folder, and what is true of every series."""

    folder: Path
    truths: dict[str, Truth]


Misplaced = Mapping[tuple[str, int, int], tuple[float, float]]


def make_project(folder: Path, further_misplaced: Misplaced | None = None) -> MadeProject:
    """Make it; some seconds."""
    folder.mkdir(parents=True)
    database = Database.create(folder)
    maker = _Maker(folder, database, {MISPLACED: MISPLACED_BY_ANGSTROM, **(further_misplaced or {})})
    truths = {}
    simulated = {}
    for name, specimen in zip(NAMES, _SPECIMENS, strict=True):
        if specimen not in simulated:
            dark = PARAMS.dark_tilts if name == DARK[0] else ()
            simulated[specimen] = simulate_tilt_series(
                PARAMS.model_copy(update={"dark_tilts": dark}), specimen
            )
        series, truth = simulated[specimen]
        truths[name] = truth
        maker.record(name, replace(series, name=name), truth)
    maker.finish()
    database.close()
    return MadeProject(folder, truths)


_STEPS = ("import_movies", "align_frames", "select_tilts", "estimate_ctf", "align_series", "reconstruct")


_RESIDUAL_COLUMNS = (
    "acquisition_index",
    "track",
    "x_angstrom",
    "y_angstrom",
    "dx_angstrom",
    "dy_angstrom",
    "counts",
)


class _Maker:
    def __init__(self, folder: Path, database: Database, misplaced: Misplaced) -> None:
        self.folder, self.database, self.misplaced = folder, database, misplaced
        database.add_plan(
            {
                "name": "tomogram",
                "description": "",
                "steps": [
                    {"name": step, "step": step, "input": _STEPS[i - 1] if i else None, "parameters": {}}
                    for i, step in enumerate(_STEPS)
                ],
            },
            "cryoloom process raw",
        )
        self.runs: dict[str, RunRecord] = {}
        before: int | None = None
        for step in _STEPS:
            # One with all its parameters, as the engine writes them.
            asked = AlignSeriesParams().model_dump(mode="json") if step == "align_series" else {}
            self.runs[step] = database.begin_run(step, step, 1, asked, before, {})
            before = self.runs[step].id

    def finish(self) -> None:
        for run in self.runs.values():
            self.database.end_run(run.id, "failed" if run.step == "align_series" else "done")

    def record(self, name: str, series: TiltSeries, truth: Truth) -> None:
        rng = np.random.default_rng(len(name))
        assert series.stack is not None
        values = np.asarray(series.stack.images[:])
        files = self._files("align_frames", name)
        write_mrc(files / "images.mrc", values, PARAMS.pixel_size_angstrom)
        bare = replace(series, stack=None)
        previous = self._item("import_movies", name, bare, None)
        stack = Stack(MrcPixels(files / "images.mrc"), PARAMS.pixel_size_angstrom)
        with_stack = replace(series, stack=stack)
        with_motion = with_stack.with_tilts(
            {
                tilt.acquisition_index: {"frame_shifts_yx_angstrom": tilt.frame_shifts_yx_angstrom}
                for tilt in truth.tilts
            }
        )
        previous = self._item(
            "align_frames", name, with_motion, previous, {"motion_median_angstrom": 3.1},
            files=(files / "images.mrc",),
        )  # fmt: skip
        selected, quality = self._selected(name, with_motion, values)
        n_excluded = float(sum(t.is_excluded for t in selected.tilts))
        previous = self._item(
            "select_tilts", name, selected, previous, {"n_excluded": n_excluded}, {"tilt_quality": quality}
        )
        fitted, curves = self._ctfs(name, selected, truth, rng)
        previous = self._item(
            "estimate_ctf", name, fitted, previous,
            {"defocus_median_angstrom": 60_000.0, "fit_resolution_median_angstrom": 19.0, "handedness": 1.0},
            {"ctf_curves": curves},
        )  # fmt: skip
        if name == HOSTILE:
            self._fail("align_series", name, previous)
            return
        aligned, records = self._aligned(name, fitted, truth, rng)
        residuals = records["residuals"]
        mean = float(np.mean(np.hypot(residuals["dx_angstrom"], residuals["dy_angstrom"])))
        previous = self._item(
            "align_series", name, aligned, previous,
            {"residual_mean_angstrom": mean, "left_out_error_angstrom": 1.3 * mean, "tilt_axis_deg": 85.3},
            records,
        )  # fmt: skip
        made = self._files("reconstruct", name) / "tomogram.mrc"
        write_mrc(made, volume_of(truth), PARAMS.pixel_size_angstrom, kind="volume")
        tomogram = Tomogram(aligned, MrcPixels(made), PARAMS.pixel_size_angstrom)
        self._item("reconstruct", name, tomogram, previous, {"n_tilts": 12.0}, files=(made,))

    def _files(self, step: str, name: str) -> Path:
        folder = self.folder / self.runs[step].folder / f"item{NAMES.index(name)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _item(
        self,
        step: str,
        name: str,
        value: Any,
        previous: int | None,
        figures: dict[str, float] | None = None,
        records: dict[str, Any] | None = None,
        files: tuple[Path, ...] = (),
    ) -> int:
        return self.database.record_item(
            ItemRecord(
                run_id=self.runs[step].id,
                name=name,
                key=fingerprint(step, name),
                state="done",
                value=encode(value, self.folder),
                figures=figures or {},
                records=records or {},
                files=tuple(
                    FileRecord("images", f.relative_to(self.folder), f.stat().st_size) for f in files
                ),
                input_item_id=previous,
                started=datetime(2026, 11, 1, tzinfo=UTC),
                seconds=2.0,
            )
        )

    def _fail(self, step: str, name: str, previous: int) -> None:
        error = {"kind": "DataUnfitError", "message": "no tilt within 10 deg of zero is left", "facts": {}}
        failed = ItemRecord(self.runs[step].id, name, "", "failed", error=error, input_item_id=previous)
        self.database.record_item(failed)

    @staticmethod
    def _selected(name: str, series: TiltSeries, values: Any) -> tuple[TiltSeries, dict[str, Any]]:
        by_section = sorted(series.tilts, key=lambda tilt: tilt.section or 0)
        indices = [tilt.acquisition_index for tilt in by_section]
        shifts = [0.17 if (name, i) == SHIFTED else 0.01 for i in indices]
        found = {}
        if name == DARK[0]:
            found[DARK[1]] = Exclusion.by_step("dark: 5 % of the expected intensity", "select_tilts", 0.05)
        if name == SHIFTED[0]:
            found[SHIFTED[1]] = Exclusion.by_step("shifted by 17 % of the field", "select_tilts", 0.17)
        quality = {
            "acquisition_index": indices,
            "mean_counts": [float(values[tilt.section].mean()) for tilt in by_section],
            "shift_fraction": shifts,
            "smear_angstrom": [0.0] * len(indices),
            "smear_angle_deg": [0.0] * len(indices),
        }
        return series.with_tilts({i: {"exclusion": why} for i, why in found.items()}), quality

    @staticmethod
    def _ctfs(name: str, series: TiltSeries, truth: Truth, rng: Any) -> tuple[TiltSeries, list[Any]]:
        changes, curves = {}, []
        frequency = np.linspace(0.005, 1 / (2 * PARAMS.pixel_size_angstrom), 60)
        for tilt in series.tilts:
            index = tilt.acquisition_index
            true = truth.tilt(index).ctf
            is_bad = (name, index) == BAD_CTF
            off = 21_000.0 if is_bad else float(rng.normal(0, 150))
            ctf = Ctf(
                true.defocus_u_angstrom + off,
                true.defocus_v_angstrom + off,
                true.astigmatism_angle_deg,
                fit_resolution_angstrom=60.0 if is_bad else 17.0 + 0.1 * abs(tilt.nominal_tilt_deg),
                score=0.1 if is_bad else 0.7,
            )
            changes[index] = {"ctf": ctf}
            model = np.sin(np.pi * 0.0197 * ctf.defocus_angstrom * frequency**2) ** 2
            curves.append(
                {
                    "acquisition_index": index,
                    "frequency_per_angstrom": frequency.tolist(),
                    "spectrum": (model + rng.normal(0, 0.08, len(model))).tolist(),
                    "model": model.tolist(),
                    "background": (1 + 2 * np.exp(-60 * frequency)).tolist(),
                }
            )
        return series.with_tilts(changes), curves

    def _aligned(
        self, name: str, series: TiltSeries, truth: Truth, rng: Any
    ) -> tuple[TiltSeries, dict[str, Any]]:
        table: dict[str, list[Any]] = {key: [] for key in _RESIDUAL_COLUMNS}
        residual: dict[int, float] = {}
        for tilt in series.tilts:
            index, true = tilt.acquisition_index, truth.tilt(tilt.acquisition_index)
            if tilt.is_excluded:
                continue
            seen = true.pose.matrix[:2] @ truth.beads_xyz_angstrom.T
            lengths = []
            for track, (x, y) in enumerate(seen.T + np.array(true.shift_xy_angstrom)):
                dx, dy = rng.normal(0, 2.0, 2)
                dx, dy = self.misplaced.get((name, track, index), (dx, dy))
                half = 0.5 * PARAMS.pixel_size_angstrom * np.array(PARAMS.image_shape_yx[::-1])
                if abs(x) > half[0] - 100 or abs(y) > half[1] - 100 or (name, track, index) == GAP:
                    continue  # out of the field, or the gap
                lengths.append(float(np.hypot(dx, dy)))
                row = (index, track, x + dx, y + dy, dx, dy, True)
                for key, value in zip(table, row, strict=True):
                    table[key].append(round(float(value), 2) if isinstance(value, float) else value)
            residual[index] = float(np.mean(lengths)) if lengths else 0.0
        slab = Slab(
            Sourced(
                measured=truth.thickness_angstrom - (TOO_THIN_BY_ANGSTROM if name == "TS_04" else 0.0),
                measured_by="estimate_slab",
            ),
            Sourced(measured=truth.z_offset_angstrom, measured_by="estimate_slab"),
        )
        changes = {
            t.acquisition_index: {
                "pose": replace(
                    truth.tilt(t.acquisition_index).pose, residual_angstrom=residual[t.acquisition_index]
                )
            }
            for t in series.tilts
            if not t.is_excluded
        }
        aligned = replace(series.with_tilts(changes), slab=slab)
        used = [t.acquisition_index for t in series.tilts]
        alignment = {
            "acquisition_index": used,
            "residual_angstrom": [residual.get(i) for i in used],
            "n_points": [table["acquisition_index"].count(i) for i in used],
            "left_out_error_angstrom": [residual[i] * 1.3 if i in residual else None for i in used],
            "pose_error_angstrom": [1.0 for _ in used],
            "method": "beads",
            "tried": [
                {"method": "beads", "n_tracks": 8, "residual_angstrom": 2.0, "pose_error_angstrom": 1.0}
            ],
        }
        return aligned, {"residuals": table, "alignment": alignment}


def volume_of(truth: Truth) -> np.ndarray:
    """Beads and two vesicles dark, as in a tomogram, with noise; (z, y, x)."""
    size = PARAMS.pixel_size_angstrom
    rng = np.random.default_rng(truth.seed)
    volume = rng.standard_normal(VOLUME_SHAPE).astype(np.float32)
    z, y, x = ((np.arange(n) - n // 2) * size for n in VOLUME_SHAPE)
    grid = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    for bead in truth.beads_xyz_angstrom:
        volume[np.linalg.norm(grid - bead, axis=-1) < truth.bead_diameter_angstrom / 2] -= 9
    for centre in vesicle_centres():
        distance = np.linalg.norm(grid - centre, axis=-1)
        volume -= 3.0 * np.exp(-(((distance - VESICLE_RADIUS_ANGSTROM) / 25.0) ** 2)).astype(np.float32)
    return volume


def add_variant(folder: Path, truth: Truth, name: str = "TS_01") -> int:
    """A second tomogram of one series, with contrast inverted; gives its run."""
    with closing(Database.open(folder)) as database:
        aligned = next(run for run in database.runs() if run.node == "align_series")
        run = _run_by_hand(database, "reconstruct_sirt", "reconstruct", aligned.id)
        made = folder / run.folder / "item0" / "tomogram.mrc"
        made.parent.mkdir(parents=True)
        write_mrc(made, -volume_of(truth), PARAMS.pixel_size_angstrom, kind="volume")
        before = next(item for item in database.items(aligned.id) if item.name == name)
        series = decode(before.value, folder, MrcPixels)
        tomogram = Tomogram(series, MrcPixels(made), PARAMS.pixel_size_angstrom, method="SIRT")
        _record(database, folder, run, name, tomogram, before.id)
        return run.id


def add_particles(folder: Path, truth: Truth, name: str = "TS_01") -> int:
    """A particle on every bead of a series, its z axis along the tomogram's x; gives their item."""
    n = len(truth.beads_xyz_angstrom)
    turned = np.broadcast_to(rotation_y(90.0), (n, 3, 3))  # takes z to x
    rows = ParticleRows.of(name, truth.beads_xyz_angstrom, rotations=turned, score=np.linspace(1, 0, n))
    return _add_rows(folder, rows, "pick_blobs", name)


def add_membrane(folder: Path, places_xyz_angstrom: Any, name: str = "TS_01") -> int:
    """Points on a membrane of a series whose normal is along the tomogram's x; gives their item."""
    n = len(places_xyz_angstrom)
    turned = np.broadcast_to(rotation_y(90.0), (n, 3, 3))
    rows = ParticleRows.of(name, places_xyz_angstrom, rotations=turned, surface=np.ones(n, dtype=np.int64))
    return _add_rows(folder, rows, "segment_membranes", name)


def _add_rows(folder: Path, rows: ParticleRows, step: str, name: str) -> int:
    with closing(Database.open(folder)) as database:
        source = next(run for run in database.runs() if run.node == "reconstruct")
        run = _run_by_hand(database, step, step, source.id)
        table = folder / run.folder / f"{name}.parquet"
        table.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(table, rows.columns())
        before = next(item for item in database.items(source.id) if item.name == name)
        tomogram = decode(before.value, folder, MrcPixels)
        particles = Particles(name, ParquetTable(table), (tomogram.series,), (tomogram,), "bead", 150.0)
        return _record(database, folder, run, name, particles, before.id)


def average_of(folder: Path) -> Average:
    """A hollow sphere, its halves with noise, and a curve that falls below 0.143 at 20 angstrom."""
    rng = np.random.default_rng(2)
    z, y, x = np.meshgrid(*[np.arange(48) - 24] * 3, indexing="ij")
    shell = np.exp(-((np.sqrt(z**2 + y**2 + x**2) - 14) ** 2) / 8).astype(np.float32)
    for name, noise in (("map", 0.02), ("half1", 0.1), ("half2", 0.1)):
        write_mrc(
            folder / f"{name}.mrc", shell + noise * rng.standard_normal(shell.shape), 5.0, kind="volume"
        )
    frequency = np.linspace(0.0, 0.1, 41)
    fsc = 1 / (1 + np.exp((frequency - 0.05) * 200 + np.log(0.857 / 0.143)))
    curve = FscCurve("masked", tuple(frequency), tuple(float(v) for v in fsc))
    maps = {name: MrcPixels(folder / f"{name}.mrc") for name in ("map", "half1", "half2")}
    return Average(
        "apoferritin", maps["map"], 5.0, "O", maps["half1"], maps["half2"], None, (curve,), 20.0, "", 1234
    )


def add_average(folder: Path, particles: int, density: np.ndarray | None = None) -> int:
    """An average of a set of particles, as its run would have left it; gives its item.

    density : of the map, if not that of `average_of`.
    """
    with closing(Database.open(folder)) as database:
        source = next(
            item for run in database.runs() for item in database.items(run.id) if item.id == particles
        )
        run = _run_by_hand(database, "refine", "refine", source.run_id)
        made = folder / run.folder
        made.mkdir(parents=True)
        average = average_of(made)
        if density is not None:
            write_mrc(made / "map.mrc", density, average.voxel_size_angstrom, kind="volume")
        return _record(database, folder, run, "all", average, particles)


def _run_by_hand(database: Database, node: str, step: str, source: int) -> RunRecord:
    asked = {"name": node, "step": step, "input": f"run:{source}", "parameters": {}}
    plan = database.add_plan({"name": node, "description": "", "steps": [asked]}, f"cryoloom run {step}")
    run = database.begin_run(node, step, 1, {}, source, {})
    database.note_run_of_plan(plan, node, run.id)
    database.end_run(run.id, "done")
    return run


def _record(
    database: Database, folder: Path, run: RunRecord, name: str, value: Any, before: int | None
) -> int:
    record = ItemRecord(
        run.id, name, fingerprint(run.node, name), "done", value=encode(value, folder), input_item_id=before
    )
    return database.record_item(record)


def vesicle_centres() -> tuple[tuple[float, float, float], ...]:
    """Planted in every tomogram, xyz in angstrom from its centre."""
    return ((-480.0, 160.0, 48.0), (560.0, -320.0, -32.0))


def predicted_bead(truth: Truth, track: int, acquisition_index: int) -> tuple[float, float]:
    """True place of a bead in an image, xy in angstrom from its centre."""
    tilt = truth.tilt(acquisition_index)
    matrix = projection_matrices(tilt.axis_deg, tilt.tilt_deg, tilt.x_tilt_deg)
    x, y = matrix[:2] @ truth.beads_xyz_angstrom[track] + np.array(tilt.shift_xy_angstrom)
    return float(x), float(y)
