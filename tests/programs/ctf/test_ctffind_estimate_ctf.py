"""CTFFIND gets its answers in the order it asks, and every CTF reaches its tilt."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
from pydantic import ValidationError

from cryoloom.contract.program import Workplace
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.model import Microscope, Stack
from cryoloom.programs.ctf.ctffind_estimate_ctf import (
    CtffindEstimateCtfParams,
    calls,
    ctffind_estimate_ctf,
    parse,
)
from makers.made_series import make_series

# The questions of CTFFIND 4.1.14 and 5.0.2 in their order (cisTEM, ctffind.cpp).
CTFFIND = """
answers = sys.stdin.read().split("\\n")[:-1]

def ask(question, kind=float):
    if not answers:
        fail("no answer to " + question)
    answer = answers.pop(0)
    print(f"{question} : {answer}")
    if kind is bool:
        if answer not in ("yes", "no"):
            fail(f"{question} needs yes or no, got {answer}")
        return answer == "yes"
    return kind(answer)

image = ask("Input image file name", str)
shape, body = read_mrc(image)
if shape[0] > 1 and ask("Input is a movie (stack of frames)", bool):
    fail("not a movie")
output = ask("Output diagnostic image file name", str)
facts = [ask(q) for q in ("Pixel size", "Acceleration voltage", "Spherical aberration", "Amplitude contrast")]
box = ask("Size of amplitude spectrum to compute", int)
low, high = ask("Minimum resolution"), ask("Maximum resolution")
least, most, step = ask("Minimum defocus"), ask("Maximum defocus"), ask("Defocus search step")
if ask("Do you know what astigmatism is present?", bool):
    fail("not known")
ask("Slower, more exhaustive search?", bool)
if ask("Use a restraint on astigmatism?", bool):
    ask("Expected (tolerated) astigmatism")
phase = ask("Find additional phase shift?", bool)
if phase:
    [ask(q) for q in ("Minimum phase shift (rad)", "Maximum phase shift (rad)", "Phase shift search step")]
else:
    ask("Determine sample tilt?", bool)
thickness = False
if VERSION_5:
    thickness = ask("Determine samnple thickness?", bool)
    if thickness:
        ask("Use brute force 1D search?", bool), ask("Use 2D refinement?", bool)
        ask("Low resolution limit for nodes"), ask("High resolution limit for nodes")
        ask("Use rounded square for nodes?", bool), ask("Downweight nodes?", bool)
if ask("Do you want to set expert options?", bool):
    fail("not expert")
if answers:
    fail(f"answers are left: {answers}")
pathlib.Path("facts.txt").write_text(repr(facts))
lines = ["# Output from CTFFind"]
for i in range(shape[0]):
    row = [i + 1, least + 100 * i + 50, least + 100 * i, 30.0, 0.5 if phase else 0.0, 0.2, 6.5]
    lines.append(" ".join(f"{value:.4f}" for value in row + ([0, 0, 900.0] if thickness else [])))
pathlib.Path(output[:-4] + ".txt").write_text("\\n".join(lines) + "\\n")
"""


@pytest.fixture
def series(rng):
    return make_series(n_tilts=5, shape_yx=(24, 16), rng=rng)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"astigmatism_tolerance_angstrom": None, "exhaustive": True},
        {"phase_shift_min_rad": 0.1, "phase_shift_max_rad": 2.0, "phase_shift_step_rad": 0.2},
        {"find_tilt": True, "amplitude_contrast": 0.08},
    ],
)
def test_answers_come_in_the_order_of_the_questions(series, context, stand_in, version, choice):
    stand_in("ctffind", f"VERSION_5 = {version == 5}\n{CTFFIND}", version=f"{version}.1.14")
    params = CtffindEstimateCtfParams(asks_for_thickness=version == 5, defocus_min_angstrom=15000, **choice)
    found = ctffind_estimate_ctf(series, params, context)
    for tilt in found.tilts:
        assert tilt.ctf.defocus_u_angstrom == 15050 + 100 * tilt.section
        assert tilt.ctf.fit_resolution_angstrom == 6.5
    assert context.figures["n_fitted"] == 5
    assert context.records["programs"] == {"CTFFIND": {"version": f"{version}.1.14"}}
    contrast = choice.get("amplitude_contrast", Microscope().amplitude_contrast)
    assert ast.literal_eval((context.scratch() / "facts.txt").read_text()) == [2.0, 300.0, 2.7, contrast]


def test_thickness_of_version_5(series, context, stand_in):
    stand_in("ctffind5", f"VERSION_5 = True\n{CTFFIND}", version="5.0.2")
    found = ctffind_estimate_ctf(series, CtffindEstimateCtfParams(find_thickness=True), context)
    assert "thickness of 900 A" in context.warnings[0]
    assert all(tilt.ctf is not None for tilt in found.tilts)


def test_a_stack_of_half_floats_reaches_the_program_as_floats(series, context, stand_in, tmp_path):
    stand_in("ctffind", f"VERSION_5 = True\n{CTFFIND}")
    path = tmp_path / "with a space" / "images.mrc"
    path.parent.mkdir()
    write_mrc(path, series.stack.images[:], 2.0, dtype="float16")
    stored = replace(series, stack=Stack(MrcPixels(path), 2.0))
    assert all(
        t.ctf is not None for t in ctffind_estimate_ctf(stored, CtffindEstimateCtfParams(), context).tilts
    )


def test_300_tilts(context, stand_in):
    stand_in("ctffind", f"VERSION_5 = True\n{CTFFIND}")
    series = make_series(n_tilts=300, shape_yx=(8, 8), step_deg=0.4)
    found = ctffind_estimate_ctf(series, CtffindEstimateCtfParams(), context)
    assert found.tilts[299].ctf.defocus_v_angstrom == pytest.approx(5000 + 29900)


def test_a_table_that_is_cut_short_is_not_taken(series, context, stand_in):
    stand_in("ctffind", f"VERSION_5 = True\n{CTFFIND.replace('range(shape[0])', 'range(3)')}")
    with pytest.raises(DataUnfitError, match="is of 3 images, the stack of TS_01 has 5"):
        ctffind_estimate_ctf(series, CtffindEstimateCtfParams(), context)


def test_a_missing_answer_is_the_programs_first_error(series, context, stand_in):
    stand_in("ctffind", f"VERSION_5 = True\n{CTFFIND}")
    with pytest.raises(DataUnfitError, match="ERROR: no answer to Do you want to set expert"):
        ctffind_estimate_ctf(series, CtffindEstimateCtfParams(asks_for_thickness=False), context)


def test_an_old_version_is_refused(series, context, stand_in):
    stand_in("ctffind", "", version="3.5")
    with pytest.raises(UserInputError, match=r"is version 3\.5, expected 4\.1 or later"):
        ctffind_estimate_ctf(series, CtffindEstimateCtfParams(), context)


def test_questions_that_contradict_each_other():
    with pytest.raises(ValidationError, match="tilt or the phase shift"):
        CtffindEstimateCtfParams(
            find_tilt=True, phase_shift_min_rad=0.0, phase_shift_max_rad=1.0, phase_shift_step_rad=0.1
        )


def test_a_real_table_is_read(data, tmp_path):
    real = next((data / "ctffind").glob("*.txt"))
    (tmp_path / "spectra.txt").write_bytes(real.read_bytes())
    assert len(parse(tmp_path).views) >= 1


def test_no_resolution_beyond_nyquist_is_asked_for():
    """At 5 A for pixels of 4 A, CTFFIND 5.0.2 gave the least defocus of its search to every tilt."""
    series = make_series(n_tilts=2, pixel_size_angstrom=4.0)
    params = CtffindEstimateCtfParams(find_thickness=True)
    (call,) = calls(series, params, Workplace(1, None, 1 << 30))
    answers = dict(call.answers)
    assert answers["Maximum resolution"] == "8"
    assert answers["High resolution limit for nodes"] == "8"
    (coarser,) = calls(series, CtffindEstimateCtfParams(finest_angstrom=9.0), Workplace(1, None, 1 << 30))
    assert dict(coarser.answers)["Maximum resolution"] == "9"
