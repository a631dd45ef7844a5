"""Gctf: its options, and values that go to sections."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.programs.ctf.gctf_estimate_ctf import GctfEstimateCtfParams, gctf_estimate_ctf
from makers.made_series import make_series

GCTF = """
images = [word for word in ARGUMENTS if word.endswith(".mrc")]
ARGUMENTS[:] = [word for word in ARGUMENTS if not word.endswith(".mrc")]
given = options(dict.fromkeys([
    "--apix", "--kV", "--Cs", "--ac", "--ctfstar", "--gid", "--boxsize", "--resL", "--resH", "--defL",
    "--defH",
    "--defS", "--astm", "--bfac", "--convsize", "--do_EPA", "--phase_shift_L", "--phase_shift_H",
    "--phase_shift_S"], 1))
rows = []
for name in reversed(images):
    (n, n_y, n_x), body = read_mrc(name)
    if n != 1:
        fail("an image of its own")
    section = int(name[8:12])
    rows.append(f"{name} {30000 + 10 * section} {29000 + 10 * section} 45.0 0.2 6.0")
names = ["MicrographName", "DefocusU", "DefocusV", "DefocusAngle", "CtfFigureOfMerit", "FinalResolution"]
head = "".join(f"_rln{name} #{i}\\n" for i, name in enumerate(names, start=1))
pathlib.Path(given["--ctfstar"][0]).write_text("data_\\n\\nloop_\\n" + head + "\\n".join(rows[:KEEP]) + "\\n")
"""


@pytest.fixture
def on_gpu(context):
    context.device = "cuda:0"
    return context


def test_values_go_to_sections(rng, on_gpu, stand_in):
    stand_in("Gctf", GCTF.replace("KEEP", ""))
    found = gctf_estimate_ctf(make_series(rng=rng), GctfEstimateCtfParams(), on_gpu)
    for tilt in found.tilts:
        assert tilt.ctf.defocus_u_angstrom == 30000 + 10 * tilt.section
        assert tilt.ctf.fit_resolution_angstrom == 6.0


def test_a_table_that_is_cut_short_is_not_taken(rng, on_gpu, stand_in):
    stand_in("Gctf", GCTF.replace("KEEP", "3"))
    with pytest.raises(DataUnfitError, match="is of 3 images, the stack of TS_01 has 5"):
        gctf_estimate_ctf(make_series(rng=rng), GctfEstimateCtfParams(), on_gpu)


def test_without_a_gpu(rng, context, stand_in):
    stand_in("Gctf", GCTF.replace("KEEP", ""))
    with pytest.raises(UserInputError, match="Gctf needs a GPU"):
        gctf_estimate_ctf(make_series(rng=rng), GctfEstimateCtfParams(), context)
