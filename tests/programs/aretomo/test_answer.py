"""What AreTomo answers reaches the right tilts, though it counts its CTFs without the dark ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.aretomo.answer import CTF_FIGURE, with_answer
from cryoloom.programs.included_tilts import of_tilts
from makers.made_series import make_series

SHAPE_YX, PIXEL = (64, 48), 10.0


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=6, shape_yx=SHAPE_YX, rng=rng, pixel_size_angstrom=PIXEL)
    made = made.with_tilts(
        {t.acquisition_index: {"exclusion": Exclusion.by_user("ice")} for t in made.tilts if t.section == 1}
    )
    return replace(made, tilt_axis_deg=Sourced.from_told(85.0, "mdoc"))


def answered(series, folder, context, *, with_ctf=True):
    """Files of AreTomo for the tilts in use, of which it calls the third section dark."""
    used = of_tilts(series, series.included, series.unweighted_stack)
    in_order = sorted(used.tilts, key=lambda tilt: tilt.nominal_tilt_deg)
    dark = next(tilt for tilt in used.tilts if tilt.section == 2)
    lines = [
        "# AreTomo Alignment / Priims bprmMn",
        f"# RawSize = {SHAPE_YX[1]} {SHAPE_YX[0]} {len(used.tilts)}",
        "# NumPatches = 0",
        f"# DarkFrame =  {in_order.index(dark):4d} {dark.section + 1:4d} {dark.nominal_tilt_deg:8.2f}",
        "# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT",
    ]
    ctfs = ["# Columns: #1 micrograph number"]
    for tilt in in_order:
        if tilt is dark:
            continue
        lines.append(f"{tilt.section:5d} 86.0 1.0 0.0 0.0 1 1 1 0 {tilt.nominal_tilt_deg:8.2f}")
        defocus = 20000 + 10 * tilt.acquisition_index
        ctfs.append(f"{len(ctfs):4d} {defocus + 5:.2f} {defocus:.2f} 30.0 0.0 0.3 10.0")
    (folder / "stack.aln").write_text("\n".join([*lines, ""]))
    (folder / "stack_ctf.txt").write_text("\n".join([*ctfs, ""]))
    ctf = folder / "stack_ctf.txt" if with_ctf else None
    return dark, with_answer(
        series, used, series.unweighted_stack, folder / "stack.aln", ctf, context,
        program="AreTomo", step="a_step", centre_specimen=False,
    )  # fmt: skip


def test_ctfs_go_to_their_tilts_though_a_dark_one_is_not_counted(series, context, tmp_path):
    dark, found = answered(series, tmp_path, context)
    assert len(found.tilts) == 6
    by_index = {tilt.acquisition_index: tilt for tilt in found.tilts}
    for tilt in found.included:
        assert tilt.pose.axis_deg == pytest.approx(86.0)
        assert tilt.ctf.defocus_v_angstrom == pytest.approx(20000 + 10 * tilt.acquisition_index)
    assert by_index[dark.acquisition_index].is_excluded
    left_out = next(tilt for tilt in series.tilts if tilt.is_excluded).acquisition_index
    assert by_index[left_out].ctf is None
    assert by_index[left_out].exclusion.reason == "ice"
    assert context.figures[CTF_FIGURE.name] == pytest.approx(20000, abs=60)


def test_without_its_ctfs_the_figure_says_why(series, context, tmp_path):
    _, found = answered(series, tmp_path, context, with_ctf=False)
    assert all(tilt.ctf is None for tilt in found.tilts)
    assert context.reasons_not_measurable[CTF_FIGURE.name] == "estimate_ctf is off"
