"""A project of thousands of series: first page, table, next series, a decision, memory of the server.

python benchmarks/web_large_project.py [--series 5000] [--tilts 61] : records that many series as the engine
would, serves them, and prints each figure beside its target. `--only camera` : series with images as large as
a camera's, binned by four and as recorded, seen for the first time and again. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink, write_mrc
from cryoloom.model import Ctf, Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.database import Database
from cryoloom.store.tables import pack
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.serve import short_pauses
from cryoloom.web.site import Site, open_projects
from makers.browser import CHROMIUM, FLAGS, WHEN_DECIDED, serving

STEPS = ("import_movies", "align_frames", "estimate_ctf", "align_series")


PARTS = ("table", "next", "exclude", "browsers")
CAMERA = {"binned": (41, 1023, 1440), "full": (41, 4092, 5760)}  # (tilt, y, x), float32
N_CAMERA_SERIES = 8
LOOK_MS = 2500  # at each series
PAGES = ("", "/series", "/review", "/ctf", "/align", "/live", "/series/TS_0007", "/new")  # one a browser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--tilts", type=int, default=61)
    parser.add_argument("--folder", type=Path, help="where the project is made, and kept for the next time")
    parser.add_argument(
        "--only", nargs="+", choices=[*PARTS, "camera"], default=list(PARTS), help="some of the figures"
    )
    parser.add_argument(
        "--wait", type=float, default=200, help="seconds for the background to read all tilts"
    )
    parser.add_argument("--serve", type=Path, help="used by the script itself: the process of the server")
    options = parser.parse_args()
    if options.serve is not None:
        serve_and_measure(options.serve)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="web_large_"))
    try:
        if options.only == ["camera"]:
            camera(folder)
            return
        begin = time.perf_counter()
        if not (folder / "large").exists():
            make_project(folder / "large", options.series, options.tilts)
        print(f"{options.series} series recorded in {time.perf_counter() - begin:.0f} s")
        command = [sys.executable, __file__, "--serve", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            server = Server(process, *json.loads(process.stdout.readline()))
            begin = time.perf_counter()
            server.get("/p/large")
            tell("first page after the start", time.perf_counter() - begin, 0.5, "s")
            measure(server, options.series, options.only, options.wait)
            facts = server.facts()
            tell("resident memory of the server", facts["resident_gb"], 1.0, "GB")
            tell("longest Python work on the event loop", facts["longest_ms"], 20, "ms")
            process.stdin.close()
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


@dataclass(frozen=True)
class Server:
    """The server in a process of its own."""

    process: subprocess.Popen[str]
    origin: str
    token: str

    @property
    def url(self) -> str:
        """Address that logs a browser in."""
        return f"{self.origin}/?token={self.token}"

    def get(self, path: str) -> httpx.Response:
        """A page, as a browser asks for it."""
        headers = {"authorization": f"token {self.token}", "accept": "text/html"}
        return httpx.get(self.origin + path, headers=headers, timeout=120).raise_for_status()

    def facts(self) -> dict[str, float]:
        """What the server measured of itself."""
        self.process.stdin.write("facts\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def serve_and_measure(folder: Path) -> None:
    """Serve; for every line read, print memory and the longest piece of work that the event loop did itself.

    Time is that of the loop's thread, so waiting for other processes or threads does not count.
    """
    longest = [0.0]
    run = asyncio.Handle._run  # noqa: SLF001 - everything that the loop runs passes here

    def timed(handle: asyncio.Handle) -> None:
        begin = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], 1000 * (time.thread_time() - begin))

    asyncio.Handle._run = timed  # noqa: SLF001
    short_pauses()
    shelf = ImageShelf(folder / "cache")
    site = Site(
        open_projects([path.parent for path in sorted(folder.glob("*/project.sqlite"))], shelf), shelf
    )
    with serving(site) as served:
        longest[0] = 0.0  # starting is not serving
        print(json.dumps([served.origin, served.access.owner_token]), flush=True)
        for _ in sys.stdin:
            resident = psutil.Process().memory_info().rss / 1e9
            print(json.dumps({"resident_gb": resident, "longest_ms": longest[0]}), flush=True)
    site.close()


def make_project(folder: Path, n_series: int, n_tilts: int) -> None:
    """Records written straight into the tables: the mapper would take minutes."""
    folder.mkdir(parents=True)
    write_mrc(
        folder / "images.mrc",
        np.random.default_rng(0).poisson(20, (n_tilts, 64, 64)).astype(np.float32),
        10.0,
    )
    record(folder, [folder / "images.mrc"] * n_series, n_tilts)


def record(folder: Path, stacks: list[Path], n_tilts: int) -> None:
    """Record a series for each stack."""
    database = Database.create(folder)
    n_series = len(stacks)
    runs, before = [], None
    for step in STEPS:
        run = database.begin_run(step, step, 1, {}, before, {})
        runs.append(run.id)
        before = run.id
    database.close()
    values = {path: encode(series_of(path, n_tilts), folder) for path in dict.fromkeys(stacks)}
    connection = sqlite3.connect(folder / "project.sqlite")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(items)")]
    defaults = {
        "other_inputs": "{}",
        "warnings": "[]",
        "figures": "{}",
        "reason": "",
        "device": "cpu",
        "host": "",
        "seconds": 1.0,
        "output": "",
        "gathered": "[]",
        "own_parameters": "{}",
    }
    rng = np.random.default_rng(1)
    for run, step in zip(runs, STEPS, strict=True):
        for i in range(n_series):
            name = f"TS_{i:04d}"
            figures = (
                f'{{"residual_mean_angstrom": {rng.gamma(4, 1):.3f}, "tilt_axis_deg": 85.0}}'
                if step == STEPS[-1]
                else "{}"
            )
            row = {
                **defaults,
                "run_id": run,
                "name": name,
                "key": fingerprint(step, name),
                "state": "done",
                "figures": figures,
            }
            row = {key: row[key] for key in row if key in columns}
            marks = ", ".join("?" * len(row))
            insert = f"INSERT INTO items ({', '.join(row)}) VALUES ({marks})"
            item = connection.execute(insert, list(row.values())).lastrowid
            content = (item, pack({**values[stacks[i]], "name": name}), pack({}))
            connection.execute("INSERT INTO contents (item_id, value, records) VALUES (?, ?, ?)", content)
    connection.execute("UPDATE runs SET state = 'done', ended = created")
    connection.commit()
    connection.close()


def series_of(stack: Path, n_tilts: int) -> TiltSeries:
    tilts = tuple(
        Tilt(
            i,
            -60.0 + 2 * i,
            2.0 * i,
            2.0 * i + 2,
            section=i,
            ctf=Ctf(3e4, 2.9e4, 20.0, fit_resolution_angstrom=12.0),
            pose=Pose(85.0, -60.0 + 2 * i, residual_angstrom=3.0),
            frame_shifts_yx_angstrom=((0.0, 0.0), (1.0, 1.0)),
        )
        for i in range(n_tilts)
    )
    series = TiltSeries("TS", Microscope(), 2.5, tilts)
    return replace(series, stack=Stack(MrcPixels(stack), 10.0))


def camera(folder: Path) -> None:
    """Projects whose series have large images; one file on disk for all series of a project, by links."""
    for name, shape in CAMERA.items():
        if (folder / name).exists():
            continue
        (folder / name).mkdir(parents=True)
        first = folder / name / "stack_00.mrc"
        rng = np.random.default_rng(2)
        section = rng.normal(20, 4, shape[1:]).astype(np.float32)
        sink = MrcSink(first, shape, 2.5, kind="stack")
        for z in range(shape[0]):
            sink[z] = np.roll(section, (7 * z, 11 * z), (0, 1))
        sink.commit()
        stacks = [folder / name / f"stack_{i:02d}.mrc" for i in range(N_CAMERA_SERIES)]
        for path in stacks[1:]:
            path.hardlink_to(first)
        record(folder / name, stacks, shape[0])
    command = [sys.executable, __file__, "--serve", str(folder)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        sync_playwright() as playwright,
    ):
        server = Server(process, *json.loads(process.stdout.readline()))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, shape in CAMERA.items():
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(server.url)
            page.goto(f"{server.origin}/p/{name}/series/TS_0000")
            page.wait_for_function("() => document.querySelector('slice-view')?.state.level !== null")
            page.wait_for_timeout(LOOK_MS)
            for visit, key in (("first seen", "]"), ("seen again", "[")):
                times, strips = [], []
                for i in range(1, N_CAMERA_SERIES):
                    number = i if key == "]" else N_CAMERA_SERIES - 1 - i
                    times.append(next_of(page, key, f"TS_{number:04d}"))
                    page.wait_for_timeout(LOOK_MS)
                    strips.append(page.evaluate(PICTURES_THERE))
                what = f"next series of {shape[0]} x {shape[2]} x {shape[1]}, {visit}"
                tell(f"{what}, p90", statistics.quantiles(times, n=10)[-1], 250, "ms")
                print(
                    f"    {[round(ms) for ms in times]} ms; thumbnails there after a look: {min(strips):.0%}"
                )
        facts = server.facts()
        tell("resident memory of the server", facts["resident_gb"], 1.0, "GB")
        browser.close()
        process.stdin.close()


PICTURES_THERE = """() => {
    const isOnScreen = one => one.getBoundingClientRect().left < innerWidth;
    const shown = [...document.querySelectorAll('#strip img')].filter(isOnScreen);
    return shown.filter(one => one.complete && one.naturalWidth).length / Math.max(1, shown.length);
}"""


def next_of(page, key: str, name: str) -> float:
    """Milliseconds from a key to the title, image and table of the series it goes to."""
    return page.evaluate(
        """async ([key, name]) => {
            const view = document.querySelector('slice-view');
            const before = view.info.key;
            const isThere = () => document.querySelector('#title').textContent === name
                && view.info?.key !== before && view.state.shownIndex === view.index
                && document.querySelectorAll('#tilts tbody tr').length > 10;
            const begin = performance.now();
            document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
            while (!isThere()) await new Promise(d => setTimeout(d, 2));
            await new Promise(d => requestAnimationFrame(() => setTimeout(d)));
            return performance.now() - begin;
        }""",
        [key, name],
    )


def measure(server: Server, n_series: int, only: list[str], wait_s: float) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(server.url)
        wait_until_read(server, wait_s)
        for part in only:
            if part == "table":
                table(page, server, n_series)
            elif part == "next":
                next_series(page, server)
            elif part == "exclude":
                exclude(page, server)
            else:
                with_eight_browsers(browser, server)
        browser.close()


def wait_until_read(server: Server, wait_s: float) -> None:
    """Pages show what is known; what their tilts are is read in the background from the first page on."""
    begin = time.perf_counter()
    while (
        n := server.get("/p/large/series.json").json()["n_waiting"]
    ) and time.perf_counter() - begin < wait_s:
        time.sleep(1.0)
    print(f"    after {time.perf_counter() - begin:.0f} s the tilts of {n} series are still to be read")


def table(page, server: Server, n_series: int) -> None:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        page.goto(f"{server.origin}/p/large/series")
        page.wait_for_function(f"() => document.querySelector('data-table')?.rows.length === {n_series}")
        times.append(time.perf_counter() - begin)
    tell(f"table of {n_series} series: open, median of 3", statistics.median(times), 0.8, "s")
    for name, script in (("filter", "table.filter(`TS_0${i}`)"), ("sort", "table.sortBy('residual')")):
        times = page.evaluate(
            f"""async () => {{
                const table = document.querySelector('data-table');
                const times = [];
                for (let i = 10; i < 20; i++) {{
                    const begin = performance.now();
                    {script};
                    await new Promise(d => requestAnimationFrame(() => setTimeout(d)));
                    times.push(performance.now() - begin);
                }}
                return times;
            }}"""
        )
        tell(f"table of {n_series} series: {name}, median of 10", statistics.median(times), 100, "ms")


def next_series(page, server: Server) -> None:
    page.goto(f"{server.origin}/p/large/series/TS_0100")
    page.wait_for_function("() => document.querySelector('slice-view')?.state.level !== null")
    page.wait_for_timeout(1000)
    times = []
    for i in range(101, 121):
        times.append(
            page.evaluate(
                """async name => {
                    const view = document.querySelector('slice-view');
                    const isThere = () => document.querySelector('#title').textContent === name
                        && view.state.shownIndex === view.index && view.info.base.includes('/image/')
                        && document.querySelectorAll('#tilts tbody tr').length > 10;
                    const begin = performance.now();
                    document.dispatchEvent(new KeyboardEvent('keydown', { key: ']', bubbles: true }));
                    while (!isThere()) await new Promise(d => setTimeout(d, 2));
                    await new Promise(d => requestAnimationFrame(() => setTimeout(d)));
                    return performance.now() - begin;
                }""",
                f"TS_0{i}",
            )
        )
        page.wait_for_timeout(300)
    tell("next series: title, image, plots, table, p90", statistics.quantiles(times, n=10)[-1], 250, "ms")


def exclude(page, server: Server) -> None:
    page.goto(f"{server.origin}/p/large/series/TS_0120")
    page.wait_for_function("() => document.querySelector('slice-view')?.state.level !== null")
    page.wait_for_timeout(1000)
    shown, durable = [], []
    for _ in range(10):
        both = page.evaluate(
            f"async () => {{ const whenDecided = {WHEN_DECIDED};"
            """
                const asked = performance.now();
                const answered = whenDecided();
                document.dispatchEvent(new KeyboardEvent('keydown', { key: 'x', bubbles: true }));
                const drawn = performance.now() - asked;
                const durable = await answered - asked;
                return [drawn, durable];
            }"""
        )
        shown.append(both[0])
        durable.append(both[1])
        page.wait_for_timeout(500)
    tell("exclude a tilt: until its row says so, p90", statistics.quantiles(shown, n=10)[-1], 16, "ms")
    tell("exclude a tilt: durable, p90", statistics.quantiles(durable, n=10)[-1], 200, "ms")


def with_eight_browsers(browser, server: Server) -> None:
    """Eight browsers, each on a page of its own with its stream open; somebody decides once a second."""
    pages = []
    for path in PAGES:
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(server.url)
        page.goto(f"{server.origin}/p/large{path}")
        pages.append(page)
    times = []
    headers = {"authorization": f"token {server.token}", "x-cryoloom": "1"}
    for i in range(10):
        change = {"kind": "tilt", "item": f"TS_{i:04d}", "target": 3, "value": {"keep": False}}
        httpx.post(
            f"{server.origin}/p/large/decide", json={"changes": [change]}, headers=headers, timeout=60
        ).raise_for_status()
        time.sleep(0.5)
        begin = time.perf_counter()
        server.get("/p/large")
        times.append(time.perf_counter() - begin)
        time.sleep(0.5)
    tell("first page with 8 browsers and decisions, p90", statistics.quantiles(times, n=10)[-1], 0.5, "s")


def tell(what: str, value: float, target: float, unit: str) -> None:
    mark = "ok" if value <= target else "over" if value <= 1.5 * target else "FAR OVER"
    print(f"{what:<62} {value:8.2f} {unit:<3} target {target:g} {unit}  {mark}")


if __name__ == "__main__":
    main()
