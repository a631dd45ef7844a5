"""IsoNet: its chain of commands in order, and its fault of ending well when it failed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError
from cryoloom.model import Tomogram
from cryoloom.programs.denoising.isonet_denoise import IsonetDenoiseParams, isonet_denoise
from makers.made_series import aligned, make_series

# Commands and options of IsoNet 0.2 (bin/isonet.py); like the real one it writes into its table as it goes.
ISONET = """
import json
command = ARGUMENTS.pop(0)
KNOWN = {
    "check": (0, []),
    "prepare_star": (1, ["--output_star", "--pixel_size", "--defocus", "--number_subtomos"]),
    "deconv": (1, ["--voltage", "--cs", "--snrfalloff", "--deconvstrength", "--highpassnyquist", "--ncpu"]),
    "make_mask": (1, ["--density_percentage", "--std_percentage", "--z_crop"]),
    "extract": (1, ["--cube_size", "--log_level"]),
    "refine": (1, ["--gpuID", "--iterations", "--preprocessing_ncpus", "--epochs", "--batch_size",
        "--steps_per_epoch", "--learning_rate", "--drop_out", "--unet_depth", "--filter_base",
        "--noise_level", "--noise_start_iter", "--log_level"]),
    "predict": (2, ["--gpuID", "--cube_size", "--crop_size", "--log_level"]),
}
n, known = KNOWN[command]
names, ARGUMENTS[:n] = ARGUMENTS[:n], []
given = options(dict.fromkeys(known, 1))
if command == "check":  # asked for the version, somewhere
    print("IsoNet --version 0.2 installed")
    sys.exit(0)
with open("commands.txt", "a") as log:
    log.write(command + "\\n")
if command == "FAILS":
    print("12-01 10:00:00, ERROR    no GPU with the memory it takes")
    sys.exit(0)
if command == "prepare_star":
    head = ["rlnIndex", "rlnMicrographName", "rlnPixelSize", "rlnDefocus", "rlnNumberSubtomo"]
    text = "data_\\n\\nloop_\\n" + "".join(f"_{name} #{i}\\n" for i, name in enumerate(head, 1))
    words = (given["--pixel_size"][0], given["--defocus"][0], given["--number_subtomos"][0])
    pathlib.Path(given["--output_star"][0]).write_text(
        text + f"1\\t{names[0]}/tomogram.mrc\\t" + "\\t".join(words) + "\\n")
elif command == "deconv":
    os.mkdir("deconv")
    write_mrc("deconv/tomogram.mrc", *read_mrc("tomograms/tomogram.mrc"))
elif command == "make_mask":
    os.mkdir("mask")
    write_mrc("mask/tomogram_mask.mrc", *read_mrc("tomograms/tomogram.mrc"))
elif command == "extract":
    rows = "".join(f"{i}\\tsubtomo/{i}.mrc\\n" for i in range(1, 8))
    head = "data_\\n\\nloop_\\n_rlnSubtomoIndex #1\\n_rlnImageName #2\\n"
    pathlib.Path("subtomo.star").write_text(head + rows)
elif command == "refine":
    os.mkdir("results")
    pathlib.Path(f"results/model_iter{int(given['--iterations'][0]):02d}.h5").write_text("weights")
elif command == "predict":
    open(names[1]).read()
    os.mkdir("corrected_tomos")
    shape, body = read_mrc("tomograms/tomogram.mrc")
    count = shape[0] * shape[1] * shape[2]
    values = [2 * value for value in struct.unpack(f"<{count}f", body)]
    write_mrc("corrected_tomos/tomogram_corrected.mrc", shape, struct.pack(f"<{count}f", *values))
"""
SMALL = {"box_px": 32, "prediction_px": 48, "iterations": 5}


@pytest.fixture
def tomogram(rng):
    volume = rng.normal(size=(50, 52, 54)).astype(np.float32)
    return Tomogram(aligned(make_series()), volume, 10.0, volume, volume)


@pytest.fixture
def on_gpu(context, stand_in):
    stand_in("isonet.py", ISONET)
    context.device = "cuda:0"
    return context


def test_the_chain_is_gone_through(tomogram, on_gpu):
    found = isonet_denoise(tomogram, IsonetDenoiseParams(**SMALL), on_gpu)
    assert_allclose(found.volume, 2 * tomogram.volume, rtol=1e-6)
    assert found.even is None
    assert found.method.endswith("IsoNet")
    assert on_gpu.figures["training_boxes"] == 7
    assert (on_gpu.scratch() / "commands.txt").read_text().split() == [
        "prepare_star", "deconv", "make_mask", "extract", "refine", "predict"
    ]  # fmt: skip
    # The defocus is that of the least tilted image, at its origin.
    assert "20000" in (on_gpu.scratch() / "tomograms.star").read_text()


def test_what_is_not_wanted_is_not_done(tomogram, on_gpu):
    isonet_denoise(tomogram, IsonetDenoiseParams(**SMALL, deconvolve=False, mask=False), on_gpu)
    done = (on_gpu.scratch() / "commands.txt").read_text()
    assert "deconv" not in done
    assert "make_mask" not in done


def test_a_failure_without_an_error_code_is_said(tomogram, on_gpu, stand_in):
    stand_in("isonet.py", ISONET.replace('"FAILS"', '"refine"'))
    with pytest.raises(DataUnfitError, match=r"without writing results/model_iter05\.h5: .*no GPU with the"):
        isonet_denoise(tomogram, IsonetDenoiseParams(**SMALL), on_gpu)


def test_what_it_cannot_denoise(tomogram, on_gpu):
    with pytest.raises(DataUnfitError, match="every side must be longer than a box of 80"):
        isonet_denoise(tomogram, IsonetDenoiseParams(), on_gpu)
    blind = replace(tomogram, series=make_series())
    with pytest.raises(DataUnfitError, match="no tilt of TS_01 has a CTF"):
        isonet_denoise(blind, IsonetDenoiseParams(**SMALL), on_gpu)
    with pytest.raises(ValidationError, match="expected a multiple of 8"):
        IsonetDenoiseParams(box_px=36)
