"""Slices in a real Chromium: key to draw, contrast, xz and yz, over a local and over a slow line.

python benchmarks/web_slices.py [--shape 350 1023 1440] : makes a float32 volume of that shape once, its 8-bit
levels, and prints each figure beside its target. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.pictures.levels import make_levels
from cryoloom.web.site import Site
from makers.browser import CHROMIUM, FLAGS, serving

RECORD = """() => {
    const view = document.querySelector('slice-view');
    window.times = {};
    window.levels = {}; // the finest in which each slice was drawn
    view.addEventListener('drawn', () => {
        const state = view.state;
        window.levels[state.shownIndex] = Math.min(window.levels[state.shownIndex] ?? 9, state.level);
        const entry = window.times[state.shownIndex];
        if (entry && entry[1] === null && state.shownIndex === state.index) entry[1] = performance.now();
    });
}"""
PRESS = """async ([n, perSecond]) => {
    const view = document.querySelector('slice-view');
    const first = view.index;
    const begin = performance.now();
    for (let i = 0; i < n; i++) {
        while (performance.now() < begin + (1000 * i) / perSecond) {
            await new Promise(done => setTimeout(done, 1));
        }
        // From the key on: it may wait until the slice before was drawn.
        window.times[first + i + 1] = [performance.now(), null];
        view.step(1);
    }
    const last = performance.now();
    const isSharp = ({ level, shownIndex, index }) => level === 0 && shownIndex === index;
    while (!isSharp(view.state) && performance.now() < last + 5000) await new Promise(d => setTimeout(d, 5));
    const sharp = performance.now() - last;
    await new Promise(done => setTimeout(done, 1000));
    return [Object.values(window.times), sharp];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(350, 1023, 1440))
    shape = tuple(parser.parse_args().shape)
    folder = Path(tempfile.mkdtemp(prefix="web_slices_"))
    try:
        volume = made_volume(folder / "volume.mrc", shape)
        seconds = []
        for _ in range(3):
            shutil.rmtree(folder / "levels", ignore_errors=True)
            begin = time.perf_counter()
            make_levels(volume, folder / "levels", "volume")
            seconds.append(time.perf_counter() - begin)
        tell("8-bit pyramid, best of 3", min(seconds), 1.5, "s")
        shelf = ImageShelf(folder / "cache")
        site = Site({}, shelf, FilesView([folder / "volume.mrc"], shelf))
        with serving(site) as served, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for name, link in (("local", None), ("40 ms, 20 Mbit/s", (40, 20e6))):
                scrub(browser, served, name, link)
            browser.close()
        site.close()
    finally:
        shutil.rmtree(folder)


def made_volume(path: Path, shape: tuple[int, ...]) -> MrcPixels:
    """Low-passed noise, rolled from section to section: as hard to compress as a tomogram."""
    rng = np.random.default_rng(1)
    section = rng.standard_normal(shape[1:]).astype(np.float32)
    section = (section + np.roll(section, 1, 0) + np.roll(section, 1, 1)) / 3
    sink = MrcSink(path, shape, 10.0, kind="volume")
    for z in range(shape[0]):
        sink[z] = np.roll(section, (3 * z, 5 * z), (0, 1))
    return sink.commit()


def scrub(browser, served, name, link) -> None:
    context = browser.new_context(viewport={"width": 1500, "height": 1200})
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_function(
        """() => {
            const state = document.querySelector('slice-view')?.state;
            return state?.ready && state.level !== null;
        }""",
        timeout=120_000,
    )
    page.wait_for_timeout(1500)
    if link is not None:
        latency_ms, bits = link
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        throttle = {
            "offline": False,
            "latency": latency_ms,
            "downloadThroughput": bits / 8,
            "uploadThroughput": bits / 8,
        }
        session.send("Network.emulateNetworkConditions", throttle)
    page.evaluate("() => document.querySelector('slice-view').go(20)")
    page.wait_for_timeout(3000)
    page.evaluate(RECORD)
    times, sharp = page.evaluate(PRESS, [90, 30 if link is None else 20])
    drawn = [end - begin for begin, end in times if end is not None]
    state = page.evaluate("() => document.querySelector('slice-view').state")
    finest = Counter(page.evaluate("() => Object.values(window.levels)"))
    print(f"    {name}: at rest {state}; slices drawn at 1/2**level: {dict(sorted(finest.items()))}")
    rate = "30 keys/s" if link is None else "20 keys/s"
    tell(f"{name}: key to drawn slice at {rate}, p90", p90(drawn), 33 if link is None else 50, "ms")
    tell(f"{name}: slices not drawn, of 90", 90 - len(drawn), 0, "")
    tell(f"{name}: sharp after the last key", sharp, 300, "ms")
    contrast = page.evaluate(
        """async () => {
            const view = document.querySelector('slice-view');
            const times = [];
            for (let i = 0; i < 20; i++) {
                const begin = performance.now();
                view.setWindow(-2 - i * 0.01, 2);
                times.push(performance.now() - begin);
                await new Promise(d => requestAnimationFrame(d));
            }
            return times;
        }"""
    )
    tell(f"{name}: change of contrast, script time, p90", p90(contrast), 16, "ms")
    if link is None:
        for axis in ("y", "x"):
            ms = page.evaluate(
                """async axis => {
                    const view = document.querySelector('slice-view');
                    view.setThickness(12);
                    await new Promise(d => setTimeout(d, 600));
                    const begin = performance.now();
                    view.setAxis(axis);
                    const isShown = () => view.state.axis === axis && view.state.shownIndex === view.index;
                    while (!isShown()) await new Promise(d => setTimeout(d, 2));
                    return performance.now() - begin;
                }""",
                axis,
            )
            tell(f"{name}: {'xz' if axis == 'y' else 'yz'} slice, 12 thick, first", ms, 100, "ms")
        picks = page.evaluate(
            """async () => {
                const { drawPicks } = await import('/static/volumes/tomogram-layers.js');
                const view = document.querySelector('slice-view');
                view.setAxis('z');
                const shape = view.info.shape;
                const toVoxel = at => at.map((v, i) => v / 10 + Math.floor(shape[2 - i] / 2) + 0.5);
                const points = Array.from({ length: 20000 }, (_, i) =>
                    [i, ...[2, 1, 0].map(k => (Math.random() - 0.5) * shape[k] * 10)]);
                const scene = { picks: { all: points }, toVoxel, shape, size: 10 };
                const canvas = document.createElement('canvas');
                [canvas.width, canvas.height] = [view.clientWidth, view.clientHeight];
                const context = canvas.getContext('2d');
                const times = [];
                for (let i = 0; i < 20; i++) {
                    await new Promise(d => requestAnimationFrame(() => setTimeout(d)));
                    view.index += 1; // another slice, other picks
                    const begin = performance.now();
                    context.clearRect(0, 0, canvas.width, canvas.height);
                    drawPicks(context, view, scene);
                    context.getImageData(0, 0, 1, 1); // what was asked for is drawn only now
                    times.push(performance.now() - begin);
                }
                return times;
            }"""
        )
        tell("20,000 picks on a slice, p90", p90(picks), 16, "ms")
    context.close()


def p90(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[-1] if len(values) > 1 else float("nan")


def tell(what: str, value: float, target: float, unit: str) -> None:
    mark = "ok" if value <= target else "over" if value <= 1.5 * target else "FAR OVER"
    print(f"{what:<62} {value:8.2f} {unit:<3} target {target:g} {unit}  {mark}")


if __name__ == "__main__":
    main()
