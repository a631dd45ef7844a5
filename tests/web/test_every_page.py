"""Every page at 1280 x 800 and in 4K: it fits, nothing is squeezed, controls have names, it stays still."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import Site, open_projects
from makers.browser import Served, serving
from makers.web_project import MadeProject, add_average, add_particles, add_variant

P = "/p/HIV-session"
PAGES = {
    "projects": "/new-project",
    "graph": P,
    "graph-list": f"{P}?view=list",
    "graph-gallery": f"{P}?view=gallery",
    "graph-time": f"{P}?view=time",
    "run": f"{P}/run/5",
    "new-run": f"{P}/new?step=align_series",
    "series-table": f"{P}/series",
    "series-gallery": f"{P}/series?view=gallery",
    "series": f"{P}/series/TS_02",
    "review": f"{P}/review",
    "ctf": f"{P}/ctf?series=TS_03",
    "alignment": f"{P}/align/TS_04?track=4&tilt=2",
    "tomogram": f"{P}/tomo/TS_01",
    "particles": f"{P}/particles",
    "average": f"{P}/averages",
    "live": f"{P}/live",
    "report": f"{P}/report",
    "error": f"{P}/series/no_such",
}
SIZES = ((1280, 800), (3840, 2160))
LOOK = """() => {
    const unnamed = [...document.querySelectorAll('button, a, input, select, textarea')].filter(one => {
        if (!one.checkVisibility()) return false;
        const label = one.labels?.[0]?.textContent ?? '';
        const label_ = one.getAttribute('aria-label');
        const words = [one.textContent, label_, one.title, one.alt, label, one.placeholder];
        return !words.some(word => word?.trim());
    });
    const overflows = one => getComputedStyle(one).overflowX === 'visible';
    const isWide = one => one.scrollWidth > one.clientWidth + 1 && overflows(one);
    const wide = [...document.querySelectorAll('main > *')].filter(isWide);
    // Text in a box that is pressed so flat that hardly a line of it is seen.
    const isFlat = one => one.clientHeight < 40 && one.scrollHeight > one.clientHeight + 20;
    const cuts = style => style.overflowY !== 'visible' && style.textOverflow !== 'ellipsis';
    const squeezed = [...document.querySelectorAll('main *')].filter(one =>
        isFlat(one) && one.checkVisibility() && one.textContent.trim() && cuts(getComputedStyle(one)));
    return {
        squeezed: squeezed.map(one => one.outerHTML.slice(0, 120)),
        unnamed: unnamed.map(one => one.outerHTML.slice(0, 120)),
        sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        wide: wide.map(one => one.className),
        shift: window.shift,
        title: document.title,
    };
}"""
WATCH_SHIFT = """() => {
    window.shift = 0;
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
}"""


@pytest.fixture(scope="module")
def full(made_once: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The project of the tests with two variants, particles and an average."""
    folder = tmp_path_factory.mktemp("full") / "HIV session"
    shutil.copytree(made_once.folder, folder)
    add_variant(folder, made_once.truths["TS_01"])
    add_average(folder, add_particles(folder, made_once.truths["TS_01"]))
    shelf = ImageShelf(tmp_path_factory.mktemp("levels"))
    site = Site(open_projects([folder], shelf), shelf, None, Roots((folder.parent,)))
    with serving(site) as running:
        yield running
    site.close()


@pytest.mark.parametrize(
    "size", [SIZES[0], pytest.param(SIZES[1], marks=pytest.mark.slow)], ids=lambda s: f"{s[0]}"
)
def test_it_fits_is_named_and_stays_where_it_is(window: Any, full: Served, size: tuple[int, int]) -> None:
    opened = window(full)
    page = opened.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.add_init_script(f"({WATCH_SHIFT})()")
    faults = []
    for name, path in PAGES.items():
        page.goto(full.origin + path)
        page.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(900)
        found = page.evaluate(LOOK)
        opened.shot(f"{name}-{size[0]}x{size[1]}")
        wrong = found["unnamed"] or found["wide"] or found["squeezed"]
        if wrong or found["sideways"] > 0 or found["shift"] > 0.1:
            faults.append((name, found))
    opened.problems = [one for one in opened.problems if "404" not in one]  # of the page that is not there
    assert not faults
