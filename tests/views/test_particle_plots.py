"""Particles are drawn where they are and by their score; averages with the correlation of their halves."""

from dataclasses import replace

import numpy as np

from cryoloom.contract import Record
from cryoloom.model import Average, FscCurve, ParticleRows, Particles
from cryoloom.views.content import SeriesReport
from cryoloom.views.drawings import DRAWINGS, drawn
from cryoloom.views.images import average_figure
from cryoloom.views.particle_plots import MOST_POINTS, average_caption
from cryoloom.views.step_results import Kept, StepResult
from makers.context import MemoryContext


def make_particles(n, rng, **more):
    rows = ParticleRows.of("TS_01", rng.uniform(-1000, 1000, (n, 3)), **more)
    table = MemoryContext().new_table("particles", rows.columns())
    return Particles("TS_01", table, (), species="ribosome"), rows


def test_particles_are_drawn_where_they_are(rng):
    particles, rows = make_particles(20, rng, score=rng.uniform(size=20))
    plan, scores = drawn(SeriesReport("TS_01", None, particles={"pick": particles}))["particles"]
    np.testing.assert_allclose(plan.data[0]["x"], rows.positions_xyz_angstrom[:, 0], rtol=1e-3)
    np.testing.assert_allclose(plan.data[0]["marker"]["color"], rows.score, rtol=1e-3)
    assert plan.caption.startswith("20 particles of ribosome, viewed along z; the colour is the score")
    assert sum(scores.data[0]["y"]) == 20


def test_a_large_set_is_drawn_in_part_and_says_so(rng):
    particles, _ = make_particles(3 * MOST_POINTS, rng)
    (plan,) = drawn(SeriesReport("TS_01", None, particles={"pick": particles}))["particles"]
    assert len(plan.data[0]["x"]) == MOST_POINTS
    assert "one in 3 is drawn" in plan.caption


def test_no_particles_are_no_plot(rng):
    particles, _ = make_particles(0, rng)
    assert "particles" not in drawn(SeriesReport("TS_01", None, particles={"pick": particles}))


def test_a_doubt_about_the_poses_stands_in_the_caption(rng):
    particles, _ = make_particles(5, rng)
    doubted = replace(particles, pose_doubt="shells do not tell")
    (plan,) = drawn(SeriesReport("TS_01", None, particles={"refine": doubted}))["particles"]
    assert ". The step that found these poses gives no resolution: shells do not tell." in plan.caption
    picked = replace(particles, common_reference="the template")
    (plan,) = drawn(SeriesReport("TS_01", None, particles={"pick": picked}))["particles"]
    assert "both halves were aligned to the template" in plan.caption


def make_average(**more):
    volume = np.zeros((16, 16, 16), np.float32)
    volume[8, 8, 8] = 1.0
    return Average("all", volume, 4.0, **more)


def test_an_average_shows_its_slices_and_curves():
    curves = (
        FscCurve("corrected", (0.0, 0.05, 0.1), (1.0, 0.8, 0.1)),
        FscCurve("null", (0.0, 0.1), (0.0, 0.0)),
    )
    average = make_average(curves=curves, resolution_angstrom=10.5, n_particles=200)
    (plot,) = drawn(SeriesReport("all", None, average=average))["average"]
    assert [trace["name"] for trace in plot.data] == ["corrected", "null"]
    assert plot.layout["shapes"][0]["y0"] == 0.143
    data = {"x": [0.0, 0.1], "curves": {"masked": [1.0, 0.2]}}
    curves = Kept(Record("fsc", "Halves.", shows="curves"), data)
    kept = StepResult("refine", kept=(curves,))
    shown = drawn(SeriesReport("all", None, average=average, results=(kept,)))
    assert [plot.title for plot in shown["average"]] == ["Fsc", "Resolution of the average"]
    assert "tomogram" not in shown
    assert "200 particles" in average_caption(average)
    assert "10.5 Å" in average_caption(average)
    of_a_class = make_average(resolution_note="compared to 15 A", pose_doubt="shells do not tell")
    assert "given (compared to 15 A; the step that found these poses gives no" in average_caption(of_a_class)
    refused = make_average(resolution_note="shells do not tell", pose_doubt="shells do not tell")
    assert "no resolution is given (shells do not tell). Central" in average_caption(refused)
    assert "no resolution is given (too few)" in average_caption(make_average(resolution_note="too few"))
    figure = average_figure(average)
    assert figure.size == (3 * 288 + 12, 288)  # each voxel 18 pixels wide
    assert np.asarray(figure)[288 - 8 * 18 - 9, 8 * 18 + 9] > 200


def test_every_pass_of_a_refinement_is_a_curve():
    passes = [{"box_angstrom": 200.0, "correlation": [1.0, 0.8, fall]} for fall in (0.1, 0.4)]
    plots = DRAWINGS["pass_sections"].draw(
        SeriesReport("all", None), Record("pass_sections", "Passes."), [*passes, {"correlation": []}]
    )
    (plot,) = plots
    assert [trace["name"] for trace in plot.data] == ["pass 1", "pass 2"]
    np.testing.assert_allclose(plot.data[1]["x"], [0, 0.005, 0.01])
    np.testing.assert_allclose(plot.data[1]["y"], [1.0, 0.8, 0.4])
    assert DRAWINGS["pass_sections"].draw(SeriesReport("all", None), Record("p", "P."), None) == ()
