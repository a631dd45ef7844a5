"""Twenty thousand picks on the tomogram page: opening it, a slice with its picks, a pick that is added.

python benchmarks/web_picks.py [--picks 20000] [--shape 200 720 1020] : records a tomogram of that shape with
that many picks by hand, opens its page in a real Chromium, and prints each figure beside its target.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import Microscope, Pose, Tilt, TiltSeries, Tomogram
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author, Change, Decisions
from cryoloom.store.records import ItemRecord
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import CHROMIUM, FLAGS, WHEN_DECIDED, serving

VOXEL_ANGSTROM = 10.0
STEPS = """async n => {
    const view = document.querySelector('#xy');
    const draws = [], frames = [];
    const frame = () => new Promise(done => requestAnimationFrame(done));
    for (let i = 0; i < n; i++) {
        view.step(i % 40 < 20 ? 1 : -1);
        const before = await frame();
        const overlay = view.overlay.getContext('2d');
        const begin = performance.now();
        overlay.getImageData(0, 0, 1, 1); // what was asked for is drawn only now
        const waited = performance.now() - begin;
        draws.push(view.lastDrawMs + waited);
        frames.push(await frame() - before);
    }
    return [draws, frames];
}"""
ADD = (
    f"async () => {{ const whenDecided = {WHEN_DECIDED};"
    + """
    const view = document.querySelector('#xy');
    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'p', bubbles: true }));
    const box = view.getBoundingClientRect();
    const answered = whenDecided();
    const [clientX, clientY] = [box.left + box.width * (0.3 + 0.4 * Math.random()), box.top + box.height / 2];
    const at = { clientX, clientY, bubbles: true, pointerId: 1, button: 0 };
    const nDrawn = view.nDrawn;
    const begin = performance.now();
    view.setPointerCapture = () => {};
    view.dispatchEvent(new PointerEvent('pointerdown', at));
    view.dispatchEvent(new PointerEvent('pointerup', at));
    while (view.nDrawn === nDrawn) await new Promise(done => setTimeout(done));
    const drawn = performance.now() - begin;
    const durable = await answered - begin;
    return [drawn, durable];
}"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picks", type=int, default=20_000)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 720, 1020))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="web_picks_"))
    try:
        make_project(folder / "picks", tuple(options.shape), options.picks)
        shelf = ImageShelf(folder / "cache")
        site = Site(open_projects([folder / "picks"], shelf), shelf)
        with serving(site) as served, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            measure(browser, served, options.picks)
            browser.close()
        site.close()
    finally:
        shutil.rmtree(folder)


def make_project(folder: Path, shape: tuple[int, ...], n_picks: int) -> None:
    """A project of one aligned series with its tomogram, of noise."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    with closing(Database.create(folder)) as database:
        run = database.begin_run("reconstruct", "reconstruct", 1, {}, None, {})
        path = folder / run.folder / "tomogram.mrc"
        path.parent.mkdir(parents=True)
        section = rng.standard_normal(shape[1:]).astype(np.float32)
        sink = MrcSink(path, shape, VOXEL_ANGSTROM, kind="volume")
        for z in range(shape[0]):
            sink[z] = np.roll(section, (3 * z, 5 * z), (0, 1))
        sink.commit()
        tilts = tuple(Tilt(i, 3.0 * i - 60, 3.0 * i, 3.0 * i + 3, pose=Pose(85.0, 0.0)) for i in range(41))
        series = TiltSeries("TS_01", Microscope(), 2.5, tilts)
        value = encode(Tomogram(series, MrcPixels(path), VOXEL_ANGSTROM), folder)
        database.record_item(ItemRecord(run.id, "TS_01", fingerprint("1"), "done", value=value))
        database.end_run(run.id, "done")
    half = 0.5 * VOXEL_ANGSTROM * np.array(shape[::-1])
    places = rng.uniform(-half, half, (n_picks, 3)).round(1).tolist()
    changes = [Change("pick", "TS_01", f"picks/{i}", place) for i, place in enumerate(places)]
    Decisions(folder).decide(changes, Author("anna", "owner", "benchmark"), "")


def measure(browser, served, n_picks: int) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(served.url)
    ready = """() => ['xy', 'yz', 'xz'].every(id => {
        const state = document.getElementById(id)?.state;
        return state?.ready && state.level !== null;
    })"""
    page.goto(f"{served.origin}/p/picks/tomo/TS_01")
    page.wait_for_function(ready, timeout=120_000)
    begin = time.perf_counter()
    page.goto(f"{served.origin}/p/picks/tomo/TS_01")
    page.wait_for_function(ready)
    tell(f"tomogram with {n_picks} picks: open", time.perf_counter() - begin, 1.0, "s")
    page.wait_for_timeout(1000)
    draws, frames = page.evaluate(STEPS, 80)
    tell(f"{n_picks} picks: a slice drawn with its picks, p90", p90(draws), 16, "ms")
    print(f"    from frame to frame, with the two other views: median {statistics.median(frames):.1f} ms")
    page.wait_for_timeout(500)
    added = [page.evaluate(ADD) for _ in range(10) if page.wait_for_timeout(400) is None]
    tell(f"{n_picks} picks: one more is seen, p90", p90([one[0] for one in added]), 50, "ms")
    tell(f"{n_picks} picks: one more is durable, p90", p90([one[1] for one in added]), 200, "ms")


def p90(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[-1]


def tell(what: str, value: float, target: float, unit: str) -> None:
    mark = "ok" if value <= target else "over" if value <= 1.5 * target else "FAR OVER"
    print(f"{what:<62} {value:8.2f} {unit:<3} target {target:g} {unit}  {mark}")


if __name__ == "__main__":
    main()
