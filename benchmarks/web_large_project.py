"""A project of thousands of series: first page, table, next series, a decision, memory of the server.

python benchmarks/web_large_project.py [--series 5000] [--tilts 61] : records that many series as the engine
would, serves them, and prints each figure beside its target. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import Ctf, Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.database import Database
from cryoloom.store.tables import pack
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import CHROMIUM, FLAGS, serving

STEPS = ("import_movies", "align_frames", "estimate_ctf", "align_series")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--tilts", type=int, default=61)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="web_large_"))
    try:
        begin = time.perf_counter()
        make_project(folder / "large", options.series, options.tilts)
        print(f"{options.series} series recorded in {time.perf_counter() - begin:.0f} s")
        shelf = ImageShelf(folder / "cache")
        begin = time.perf_counter()
        site = Site(open_projects([folder / "large"], shelf), shelf)
        with serving(site) as served:
            first = httpx.get(
                f"{served.origin}/p/large",
                headers={"authorization": f"token {served.access.owner_token}"},
                timeout=60,
            )
            first.raise_for_status()
            tell("first page after the start", time.perf_counter() - begin, 0.5, "s")
            measure(served, options.series)
        tell(
            "resident memory of the server (and this script)",
            psutil.Process().memory_info().rss / 1e9,
            1.0,
            "GB",
        )
        site.close()
    finally:
        shutil.rmtree(folder)


def make_project(folder: Path, n_series: int, n_tilts: int) -> None:
    """Records written straight into the tables: the mapper would take minutes."""
    folder.mkdir(parents=True)
    database = Database.create(folder)
    write_mrc(
        folder / "images.mrc",
        np.random.default_rng(0).poisson(20, (n_tilts, 64, 64)).astype(np.float32),
        10.0,
    )
    runs, before = [], None
    for step in STEPS:
        run = database.begin_run(step, step, 1, {}, before, {})
        runs.append(run.id)
        before = run.id
    database.close()
    value = encode(series_of(folder, n_tilts), folder)
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
            content = (item, pack({**value, "name": name}), pack({}))
            connection.execute("INSERT INTO contents (item_id, value, records) VALUES (?, ?, ?)", content)
    connection.execute("UPDATE runs SET state = 'done', ended = created")
    connection.commit()
    connection.close()


def series_of(folder: Path, n_tilts: int) -> TiltSeries:
    from cryoloom.formats.pixels.mrc import MrcPixels

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
    return replace(series, stack=Stack(MrcPixels(folder / "images.mrc"), 10.0))


def measure(served, n_series: int) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(served.url)
        begin = time.perf_counter()
        page.goto(f"{served.origin}/p/large/series")
        page.wait_for_function(f"() => document.querySelector('data-table')?.rows.length === {n_series}")
        tell(f"table of {n_series} series: open", time.perf_counter() - begin, 0.8, "s")
        for name, script in (("filter", "table.filter('TS_0123')"), ("sort", "table.sortBy('residual')")):
            ms = page.evaluate(
                f"""async () => {{
                    const table = document.querySelector('data-table');
                    const begin = performance.now();
                    {script};
                    await new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)));
                    return performance.now() - begin;
                }}"""
            )
            tell(f"table of {n_series} series: {name}", ms, 100, "ms")
        page.goto(f"{served.origin}/p/large/series/TS_0100")
        page.wait_for_function("() => document.querySelector('slice-view')?.state.level !== null")
        page.wait_for_timeout(1000)
        times = []
        for i in range(101, 111):
            begin = time.perf_counter()
            page.keyboard.press("]")
            page.wait_for_function(
                "i => document.querySelector('#title').textContent === `TS_0${i}` && "
                "document.querySelector('slice-view').state.shownIndex !== null && "
                "document.querySelectorAll('#tilts tbody tr').length > 10",
                arg=i,
            )
            times.append(1000 * (time.perf_counter() - begin))
        tell("next series: title, image, table, median", statistics.median(times), 250, "ms")
        shown, durable = [], []
        project = served.site.project("large")
        for _ in range(8):
            n = len(project.decisions())
            begin = time.perf_counter()
            shown.append(
                page.evaluate(
                    """async () => {
                        const begin = performance.now();
                        document.dispatchEvent(new KeyboardEvent('keydown', { key: 'x', bubbles: true }));
                        const done = performance.now() - begin;
                        return done;
                    }"""
                )
            )
            while len(project.decisions()) == n:
                time.sleep(0.002)
            durable.append(1000 * (time.perf_counter() - begin))
            page.wait_for_timeout(400)
        tell("exclude a tilt: drawn by the script, median", statistics.median(shown), 16, "ms")
        tell("exclude a tilt: durable, median", statistics.median(durable), 200, "ms")
        browser.close()


def tell(what: str, value: float, target: float, unit: str) -> None:
    mark = "ok" if value <= target else "over" if value <= 1.5 * target else "FAR OVER"
    print(f"{what:<62} {value:8.2f} {unit:<3} target {target:g} {unit}  {mark}")


if __name__ == "__main__":
    main()
