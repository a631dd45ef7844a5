"""Plots of particles and their averages: positions, scores, agreement of the halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.figures import Record
from cryoloom.model import Average, Particles, doubt_of, no_resolution
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    Plot,
    Trace,
    axes_layout,
    line,
    rounded,
    scatter,
    threshold,
)

__all__ = ["average_caption", "average_plots", "draw_passes", "particle_plots", "why_no_resolution"]

MOST_POINTS = 4000
"""Largest number of particles drawn, selected evenly: a page does not show more."""
MOST_BINS = 60
"""Chosen for viewing."""


def particle_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Plan of the particles of every step that has some, and the distribution of their scores."""
    plots: list[Plot] = []
    for node, particles in item.particles.items():
        if particles.n_particles:
            plots += _of_one_set(node, particles)
    return tuple(plots)


def _of_one_set(node: str, particles: Particles) -> list[Plot]:
    rows = particles.rows()
    every = -(-rows.n // MOST_POINTS)
    shown = rows.take(np.arange(0, rows.n, every))
    xyz = shown.positions_xyz_angstrom
    colour = shown.score if shown.score is not None else xyz[:, 2]
    named = "score" if shown.score is not None else "z (Å)"
    spots = scatter(xyz[:, 0], xyz[:, 1], BLUE)
    spots["text"] = [
        f"particle {number}, z {z:.0f} Å" + ("" if shown.score is None else f", score {shown.score[k]:.3g}")
        for k, (number, z) in enumerate(zip(shown.particle, xyz[:, 2], strict=True))
    ]
    spots["hovertemplate"] = "%{text}<extra></extra>"
    spots["marker"] = {
        "size": 5,
        "color": rounded(colour),
        "colorscale": "Cividis",
        "showscale": True,
        "colorbar": {"title": {"text": named, "side": "top"}, "thickness": 12, "len": 0.9},
    }
    layout = axes_layout("x (Å)", "y (Å)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    n_tomograms = len(np.unique(rows.tomogram))
    where = f" in {n_tomograms} tomograms" if n_tomograms > 1 else ""
    part = f"; one in {every} is drawn" if every > 1 else ""
    doubt = doubt_of([particles])
    plan = Plot(
        f"Particles ({node})",
        f"{rows.n} particles of {particles.species}{where}, viewed along z; the colour is the {named}{part}."
        + (f" {_sentence(no_resolution(doubt))}" if doubt else ""),
        [spots],
        layout,
        height_px=360,
    )
    if rows.score is None or not np.isfinite(rows.score).any():
        return [plan]
    return [plan, _scores(node, rows.score[np.isfinite(rows.score)])]


def _scores(node: str, scores: NDArray[np.float64]) -> Plot:
    n_bins = int(min(MOST_BINS, max(8, np.sqrt(len(scores)))))
    counts, edges = np.histogram(scores, n_bins)
    bars: Trace = {
        "type": "bar",
        "x": rounded((edges[1:] + edges[:-1]) / 2),
        "y": counts.tolist(),
        "marker": {"color": BLUE},
        "hovertemplate": "%{y} near %{x}<extra></extra>",
    }
    layout = axes_layout("score", "particles", bargap=0.04)
    return Plot(
        f"Scores ({node})",
        "Distribution of the scores of the particles that were kept. Two separate peaks mean that a "
        "threshold between them would remove false ones.",
        [bars],
        layout,
    )


def draw_passes(item: SeriesReport, record: Record, data: Any) -> tuple[Plot, ...]:
    """Correlation of the halves after every pass of a refinement, the last one in colour."""
    passes = [one for one in data or () if isinstance(one, Mapping) and one.get("correlation")]
    if not passes:
        return ()
    traces = []
    for number, one in enumerate(passes, 1):
        is_last = number == len(passes)
        frequency = [shell / one["box_angstrom"] for shell in range(len(one["correlation"]))]
        name = f"pass {number}"
        traces.append(line(frequency, one["correlation"], BLUE if is_last else GREY, name))
        traces[-1]["opacity"] = 1.0 if is_last else 0.2 + 0.6 * number / len(passes)
    layout = axes_layout("frequency (1/Å)", "correlation", shapes=[threshold(0.143)])
    layout["yaxis"]["range"] = [-0.15, 1.03]
    return (Plot("Passes of the refinement", record.meaning, traces, layout),)


def average_plots(item: SeriesReport) -> tuple[Plot, ...]:
    """Fourier shell correlations of an average's halves."""
    average = item.average
    if average is None or not average.curves:
        return ()
    colours = (BLUE, ORANGE, GREY, RED)
    traces = [
        line(curve.frequency_per_angstrom, list(curve.correlation), colours[k % len(colours)], curve.name)
        for k, curve in enumerate(average.curves)
    ]
    layout = axes_layout("frequency (1/Å)", "correlation", showlegend=True, shapes=[threshold(0.143)])
    layout["yaxis"]["range"] = [-0.15, 1.03]
    caption = (
        "Fourier shell correlation of the two halves, which share no particle. Dashed: 0.143. The corrected "
        "curve is corrected for the mask; where the randomised one is well above zero, the mask is too "
        "tight."
    )
    return (Plot("Resolution of the average", caption, traces, layout),)


def average_caption(average: Average) -> str:
    """Description of an average, in a sentence or two."""
    of = "" if average.n_particles is None else f" of {average.n_particles} particles"
    size = " \u00d7 ".join(str(n) for n in average.map.shape[::-1])
    if average.resolution_angstrom is None:
        resolution, note = "no resolution is given", why_no_resolution(average)
    else:
        resolution = (
            f"resolution {average.resolution_angstrom:.1f} Å where the halves' correlation falls to 0.143"
        )
        note = average.resolution_note
    return (
        f"Average{of}, symmetry {average.symmetry}: {size} voxels of {average.voxel_size_angstrom:.3g} Å; "
        f"{resolution}{f' ({note})' if note else ''}. Central slices xy, xz and yz; density is bright."
    )


def why_no_resolution(average: Average) -> str:
    """Why an average has no resolution, without a full stop; "" if it has one, or if no reason is known."""
    if average.resolution_angstrom is not None:
        return ""
    note, doubt = average.resolution_note, average.pose_doubt
    return note if not doubt or doubt in note else "; ".join(filter(None, (note, no_resolution(doubt))))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
