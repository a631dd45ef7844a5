"""A camera-size tilt series from raw movies to a tomogram and report: seconds, disk, memory, cores busy.

The movies (5760 x 4092 x 8 over ``--scale``) are noise with gold-like discs at the places a tilted specimen
puts them, made from a few noise frames moved about: their content costs nothing, their size is real.
With ``--specimen`` blobs lie in 1500 A of ice and the images have Thon rings, as the steps expect them:
without, the CTF is fitted twice, because only the gold shows rings, and the tomogram is 4000 A thick.
Everything lies under ``--folder`` and is removed afterwards. A second run with another alignment parameter
follows. One table is printed; disk is that of the project alone, sampled twice a second.

The idle machine at full size: ``python benchmarks/throughput.py --folder /scratch``; a quick look:
``--scale 2 --tilts 11``. ``--live 4`` plays the movies as they are acquired and watches their folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import tifffile
from scipy.ndimage import gaussian_filter

from cryoloom.engine.project import Project
from cryoloom.formats.pixels.eer_writer import write_eer
from cryoloom.geometry.projection import project, projection_matrices
from cryoloom.simulate.live import LivePlan, play_session

SHAPE_YX = (4092, 5760)
PIXEL_SIZE_ANGSTROM = 1.35
AXIS_DEG = 85.0
N_FRAMES = 8
EER_SHAPE_YX, N_EER_FRAMES = (4096, 4096), 300
COUNTS = 0.9
RINGS = 0.4
"""Deviation of the counts of a specimen's frames over their mean: rings as clear as those of thin ice."""
DEFOCUS_ANGSTROM, WAVELENGTH_ANGSTROM, CS_ANGSTROM = 30000.0, 0.0197, 2.7e7
N_BLOBS, BLOB_SIGMA_ANGSTROM, BLOB_CONTRAST, ICE_ANGSTROM = 6000, 50.0, 0.08, 1500.0
"""Blobs of the size of ribosomes in the ice, and the part of the electrons that the middle of one takes."""
COARSE = 8
"""Pixels of the movies to one of the map of the blobs."""
SAMPLED_EVERY_S = 0.5


def dose_symmetric(n_tilts: int, step_deg: float = 3.0) -> list[float]:
    """0, 3, -3, -6, 6, 9 ... as SerialEM takes them."""
    angles = [0.0]
    side, k = 1.0, 1
    while len(angles) < n_tilts:
        angles += [side * k * step_deg, -side * k * step_deg]
        side, k = -side, k + 1
    return angles[:n_tilts]


def discs(image: np.ndarray, centres_yx: np.ndarray, radius_px: float) -> None:
    """Darken discs in place."""
    r = int(radius_px) + 1
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    inside = np.hypot(y, x) < radius_px
    for cy, cx in np.rint(centres_yx).astype(int):
        if r <= cy < image.shape[0] - r and r <= cx < image.shape[1] - r:
            image[cy - r : cy + r + 1, cx - r : cx + r + 1][inside] //= 2


def ringed(shape_yx: tuple[int, int], pixel: float, rng: np.random.Generator) -> np.ndarray:
    """Relative counts with Thon rings: white noise times a CTF without damping, deviation `RINGS`."""
    noise = np.fft.rfft2(rng.standard_normal(shape_yx, dtype=np.float32))
    squared = np.fft.fftfreq(shape_yx[0], pixel)[:, None] ** 2 + np.fft.rfftfreq(shape_yx[1], pixel) ** 2
    phase = (
        np.pi
        * WAVELENGTH_ANGSTROM
        * squared
        * (DEFOCUS_ANGSTROM - 0.5 * CS_ANGSTROM * WAVELENGTH_ANGSTROM**2 * squared)
    )
    made = np.fft.irfft2(noise * np.sin(phase - 0.07), s=shape_yx)
    return np.maximum(1 + made * (RINGS / made.std()), 0).astype(np.float32)


def kept_of_256(where_xy: np.ndarray, shape_yx: tuple[int, int], pixel: float) -> np.ndarray:
    """Part of the electrons, in 256ths, that blobs at these places (angstrom) let through."""
    coarse = tuple(-(-n // COARSE) for n in shape_yx)
    at = np.rint(where_xy[:, ::-1] / (COARSE * pixel)).astype(int) + np.array(coarse) // 2
    at = at[((at >= 0) & (at < coarse)).all(axis=1)]
    lost = np.zeros(coarse)
    np.add.at(lost, tuple(at.T), 1.0)
    sigma = BLOB_SIGMA_ANGSTROM / (COARSE * pixel)
    lost = gaussian_filter(lost, sigma) * (2 * np.pi * sigma**2 * BLOB_CONTRAST)
    kept = np.clip(256 * np.exp(-lost), 0, 255).astype(np.uint8)
    return kept.repeat(COARSE, 0).repeat(COARSE, 1)[: shape_yx[0], : shape_yx[1]]


def movies(
    shape_yx: tuple[int, int], pixel: float, angles: list[float], *, specimen: bool = False
) -> Iterator[np.ndarray]:
    """Frames ``(frame, y, x)`` of every tilt; with a ``specimen``, of blobs in ice with Thon rings."""
    rng = np.random.default_rng(5)
    counts = COUNTS * ringed(shape_yx, pixel, rng) if specimen else COUNTS
    noise = rng.poisson(counts, (3, *shape_yx)).astype(np.uint8)
    chance = rng.integers(0, 256, shape_yx, dtype=np.uint8) if specimen else None
    blobs = rng.uniform([-8000, -6000, -ICE_ANGSTROM / 2], [8000, 6000, ICE_ANGSTROM / 2], (N_BLOBS, 3))
    points = np.column_stack(
        [rng.uniform(-3500, 3500, 60), rng.uniform(-2500, 2500, 60), rng.uniform(-600, 600, 60)]
    )
    for i, angle in enumerate(angles):
        matrices, shift = projection_matrices(AXIS_DEG, [angle]), rng.normal(0, 40, (1, 2))
        where = project(points, matrices, shift)[0]
        centres = where[:, ::-1] / pixel + np.array(shape_yx) // 2
        moves = [(131 * (i + 1) * (k + 1), 977 * (i + 3) * (k + 1)) for k in range(N_FRAMES)]
        frames = np.stack([np.roll(noise[k % 3], move, (0, 1)) for k, move in enumerate(moves)])
        if chance is not None:
            kept = kept_of_256(project(blobs, matrices, shift)[0], shape_yx, pixel)
            for k, frame in enumerate(frames):
                frame[np.roll(chance, (613 * (k + 1), 359 * (i + 1)), (0, 1)) >= kept] = 0
        for frame in frames:
            discs(frame, centres, 50.0 / pixel)
        yield frames


def write_events(path: Path, scale: int, pixel: float) -> None:
    """An EER movie of noise."""
    n_y, n_x = (n // scale for n in EER_SHAPE_YX)
    rng = np.random.default_rng(5)
    n_events = int(n_y * n_x * COUNTS * N_FRAMES / N_EER_FRAMES)
    frames = (
        np.column_stack([rng.integers(0, 4 * n, n_events) for n in (n_y, n_x)]) for _ in range(N_EER_FRAMES)
    )
    write_eer(path, frames, (n_y, n_x), dose_per_angstrom2=3.0, pixel_size_angstrom=pixel)


def make_raw(folder: Path, options: argparse.Namespace) -> None:
    """Movies and an mdoc."""
    is_eer = options.format == "eer"
    shape_yx = tuple(n // options.scale for n in (EER_SHAPE_YX if is_eer else SHAPE_YX))
    pixel = PIXEL_SIZE_ANGSTROM * options.scale
    lines = [f"PixelSpacing = {pixel}", "Voltage = 300", f"ImageSize = {shape_yx[1]} {shape_yx[0]}", ""]
    lines += [f"[T =     Tilt axis angle = {AXIS_DEG}, binning = 1  spot = 8  camera = 1]", ""]
    angles = dose_symmetric(options.tilts)
    frames_of = iter(
        () if is_eer else movies((shape_yx[0], shape_yx[1]), pixel, angles, specimen=options.specimen)
    )
    first = ""
    for i, angle in enumerate(angles):
        name = f"TS_01_{i:03d}_{angle:.1f}.{'eer' if is_eer else 'tif'}"
        if is_eer and i:  # what is in them costs nothing to read a second time: say so beside the figure
            os.link(folder / first, folder / name)
        elif is_eer:
            first = name
            write_events(folder / name, options.scale, pixel)
        else:
            compression = "lzw" if options.format == "lzw" else None
            tifffile.imwrite(folder / name, next(frames_of)[:, ::-1], compression=compression)
        lines += [
            f"[ZValue = {i}]",
            f"TiltAngle = {angle}",
            f"PixelSpacing = {pixel}",
            "ExposureDose = 3",
            f"SubFramePath = X:\\frames\\{name}",
            f"NumSubFrames = {N_EER_FRAMES if is_eer else N_FRAMES}",
            f"DateTime = 21-Nov-26  10:{i:02d}:00",
            "",
        ]
    (folder / "TS_01.mrc.mdoc").write_text("\n".join(lines))


@dataclass
class Usage:
    """What a command used."""

    seconds: float = 0.0
    status: int = 0
    peak_disk_bytes: int = 0
    peak_stack_bytes: int = 0
    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0
    written_bytes: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def cores_busy(self) -> float:
        """Mean number of cores that worked."""
        return self.cpu_seconds / max(self.seconds, 1e-9)

    def watch(self, process: psutil.Popen, folder: Path) -> None:
        """Sample until the command ends."""
        while not self._ended.wait(SAMPLED_EVERY_S):
            self.peak_disk_bytes = max(self.peak_disk_bytes, bytes_in(folder))
            self.peak_stack_bytes = max(self.peak_stack_bytes, length_of_stacks(folder))
            memory, cpu, written = 0, 0.0, 0
            for one in [process, *children_of(process)]:
                try:
                    with one.oneshot():
                        memory += one.memory_info().rss
                        cpu += sum(one.cpu_times()[:4])
                        written += one.io_counters().write_chars
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
            self.cpu_seconds = max(self.cpu_seconds, cpu)
            self.written_bytes = max(self.written_bytes, written)

    def end(self) -> None:
        """Sample no more."""
        self._ended.set()


def children_of(process: psutil.Popen) -> list[psutil.Process]:
    """Processes below it that live."""
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def length_of_stacks(folder: Path) -> int:
    """Bytes of all MRC files, as a budget counts them: small files take more on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size if name.endswith(".mrc") else 0
    return total


def bytes_in(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def measured(arguments: list[str], folder: Path) -> Usage:
    """Run cryoloom and watch it."""
    usage, clock = Usage(), time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "cryoloom.cli.entry", *arguments], stdout=subprocess.DEVNULL
    )
    watcher = threading.Thread(target=usage.watch, args=(process, folder))
    watcher.start()
    usage.status = process.wait()
    usage.seconds = time.perf_counter() - clock
    usage.end()
    watcher.join()
    return usage


def row(name: str, value: str, target: str = "") -> None:
    """One line of the table."""
    print(f"| {name:56} | {value:>18} | {target:16} |", flush=True)


def step_rows(folder: Path) -> None:
    """Seconds and bytes of every step."""
    opened = Project.open(folder)
    for run in opened.database.runs():
        items = [item for item in opened.database.items(run.id) if item.reused_from is None]
        n_bytes = sum(bytes_of(folder / file.path) for item in items for file in item.files)
        seconds = sum(item.seconds for item in items)
        row(f"  {run.id} {run.node}", f"{seconds:6.1f} s {n_bytes / 1e9:6.2f} GB")
    opened.database.close()


def bytes_of(path: Path) -> int:
    """Bytes of a file or folder."""
    if path.is_dir():
        return bytes_in(path)
    return path.stat().st_size if path.exists() else 0


WORKFLOW_OF_MANY = """
name: many
steps:
  - step: import_movies
    parameters: {voltage_kv: 300}
  - step: align_frames
    parameters: {finest_angstrom: 15}
  - step: bin_series
    parameters: {binning: 4}
"""


SMALL_SHAPE_YX = (256, 256)
N_SMALL_TILTS, N_SMALL_FRAMES = 5, 4


def many_series(folder: Path, n_series: int) -> None:
    """Small series, without a budget and with one that holds a tenth of what they write on the way.

    Two of few series make more than a tenth: the one that is worked on, and the one before it.
    """
    raw, rng = folder / "raw", np.random.default_rng(7)
    raw.mkdir()
    for k in range(n_series):
        lines = [
            "PixelSpacing = 4",
            "Voltage = 300",
            f"ImageSize = {SMALL_SHAPE_YX[1]} {SMALL_SHAPE_YX[0]}",
            "",
        ]
        lines += ["[T =     Tilt axis angle = 85.0, binning = 1  spot = 8  camera = 1]", ""]
        for i, angle in enumerate(dose_symmetric(N_SMALL_TILTS)):
            name = f"TS_{k:03d}_{i:03d}_{angle:.1f}.tif"
            frames = rng.poisson(4.0, (N_SMALL_FRAMES, *SMALL_SHAPE_YX)).astype(np.uint8)
            tifffile.imwrite(raw / name, frames, photometric="minisblack")  # four frames, not four colours
            lines += [f"[ZValue = {i}]", f"TiltAngle = {angle}", "PixelSpacing = 4", "ExposureDose = 3"]
            lines += [f"SubFramePath = X:\\frames\\{name}", f"NumSubFrames = {N_SMALL_FRAMES}", ""]
        (raw / f"TS_{k:03d}.mrc.mdoc").write_text("\n".join(lines))
    workflow = folder / "many.yaml"
    workflow.write_text(WORKFLOW_OF_MANY)
    row(f"{n_series} small series", "measured", "wanted")
    kept, seconds, busy = {}, {}, {}
    for name in ("free", "budget"):
        made = folder / name
        command = ["process", str(raw), "--project", str(made), "--workflow", str(workflow)]
        if name == "budget":
            on_the_way = sum(path.stat().st_size for path in (folder / "free").rglob("*.mrc"))
            results = sum(p.stat().st_size for p in (folder / "free").rglob("*bin_series/*/*.mrc"))
            budget = results + int((on_the_way - results) * max(1 / 10, 2 / n_series))
            command += ["--keep", "results", "--disk-budget", f"{budget}"]
        usage = measured(command, made)
        seconds[name] = usage.seconds
        kept[name] = {path.parent.name: path.read_bytes() for path in made.rglob("*bin_series/*/images.mrc")}
        busy[name] = usage.cpu_seconds
        row(f"{name}: seconds; exit status", f"{usage.seconds:.1f} s; {usage.status}", "0")
        row(f"{name}: processor time", f"{usage.cpu_seconds:.1f} s")
        stacks = usage.peak_stack_bytes / 1e6
        row(
            f"{name}: stacks at the peak",
            f"{stacks:.1f} MB",
            "" if name == "free" else f"{budget / 1e6:.1f} MB",
        )
    row(
        "results that differ or lack",
        str(n_series - sum(kept["free"][k] == kept["budget"].get(k) for k in kept["free"])),
        "0",
    )
    row("throughput with the budget, of that without", f"{seconds['free'] / seconds['budget']:.2f}", "0.9")
    row("the same by processor time, if other work runs", f"{busy['free'] / busy['budget']:.2f}", "0.9")


def live_series(raw: Path, folder: Path, settings: list[str], options: argparse.Namespace) -> None:
    """The same movies as they are acquired: seconds from the last one's arrival to the tomogram."""
    watched, made, stop = folder / "watched", folder / "live", folder / "stop"
    watched.mkdir()
    command = ["watch", str(watched), "--project", str(made), "--tilts", str(options.tilts)]
    command += [*settings, "--stop-file", str(stop)]
    played = threading.Thread(
        target=play_session, args=(raw, watched, LivePlan(seconds_per_tilt=options.live))
    )
    played.start()
    stop.touch()  # it ends when every series is done
    usage = measured(command, made)
    played.join()
    arrived = max(path.stat().st_mtime for path in watched.iterdir())
    opened = Project.open(made)
    row(f"live, a tilt every {options.live:g} s; exit status", str(usage.status), "0")
    for run in opened.database.runs():
        for item in opened.database.items(run.id):
            if item.started is not None:
                began = item.started.timestamp() - arrived
                row(
                    f"  {run.node}: begun, done after the last movie",
                    f"{began:.1f}, {began + item.seconds:.1f} s",
                )
    row("memory at the peak, live", f"{usage.peak_memory_bytes / 1e9:.2f} GB", "4 GB")
    opened.database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="scratch folder")
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--scale", type=int, default=1, help="images this much smaller along x and y")
    parser.add_argument("--format", choices=["tiff", "lzw", "eer"], default="tiff")
    parser.add_argument("--binning", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], help="as of `cryoloom process`")
    parser.add_argument(
        "--many", type=int, default=0, help="so many small series under a disk budget instead"
    )
    parser.add_argument(
        "--specimen",
        action="store_true",
        help="blobs in ice with Thon rings, instead of noise and gold alone",
    )
    parser.add_argument("--no-second", action="store_true", help="leave the second run out")
    parser.add_argument(
        "--live", type=float, default=0.0, help="as it is acquired instead, a tilt in so many seconds"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cryoloom-throughput-", dir=options.folder))
    try:
        if options.many:
            many_series(folder, options.many)
            return
        raw, made = folder / "raw", folder / "p"
        raw.mkdir()
        make_raw(raw, options)
        settings = ["--set", f"reconstruct.binning={options.binning}"]
        for setting in options.set:
            settings += ["--set", setting]
        command = ["process", str(raw), "--project", str(made), *settings]
        row(f"{options.tilts} tilts, {options.format}, scale 1/{options.scale}", "measured", "full size")
        row("-" * 56, "-" * 18, "-" * 16)
        row("raw", f"{bytes_in(raw) / 1e9:.2f} GB")
        if options.live:
            live_series(raw, folder, settings, options)
            return
        first = measured(command, made)
        row("raw to tomogram and report", f"{first.seconds:.1f} s", "120 s, goal 90")
        row("  exit status", str(first.status), "0")
        row("disk at the peak, besides raw", f"{first.peak_disk_bytes / 1e9:.2f} GB", "10 GB")
        row("disk kept", f"{bytes_in(made) / 1e9:.2f} GB")
        row("memory at the peak", f"{first.peak_memory_bytes / 1e9:.2f} GB", "4 GB")
        row("cores busy", f"{first.cores_busy:.2f} of {os.cpu_count()}")
        row("written", f"{first.written_bytes / 1e9:.2f} GB")
        step_rows(made)
        if not options.no_second:
            command += ["--set", "align_series.working_pixel_angstrom=14"]
            second = measured(command, made)
            row("second run, another alignment parameter", f"{second.seconds:.1f} s", "40 s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
