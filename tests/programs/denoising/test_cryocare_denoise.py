"""cryoCARE: its three JSON files, and the volume it makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Tomogram
from cryoloom.programs.denoising.cryocare_denoise import CryocareDenoiseParams, cryocare_denoise
from makers.made_series import make_series

# Entries as cryoCARE's README has them.
EXTRACT = """
import json
wanted = {"even", "odd", "patch_shape", "num_slices", "split", "tilt_axis", "n_normalization_samples", "path"}
conf = json.load(open(ARGUMENTS[1]))
if ARGUMENTS[0] != "--conf" or set(conf) != wanted:
    fail("wrong entries " + repr(sorted(conf)))
for name in (*conf["even"], *conf["odd"]):
    read_mrc(name)
os.makedirs(conf["path"])  # the real one ends where the folder is there, too
for name in ("train_data.npz", "val_data.npz"):
    pathlib.Path(conf["path"], name).write_text("boxes")
"""
TRAIN = """
import json
wanted = {"train_data", "epochs", "steps_per_epoch", "batch_size", "unet_kern_size", "unet_n_depth",
          "unet_n_first", "learning_rate", "model_name", "path"}
conf = json.load(open(ARGUMENTS[1]))
if set(conf) != wanted | {"gpu_id"}:  # without it the real one ends where there is no GPU
    fail("wrong entries " + repr(sorted(conf)))
if not os.path.exists(conf["train_data"] + "/val_data.npz"):
    fail("no boxes")
if os.environ.get("CUDA_VISIBLE_DEVICES") != "-1":
    fail("no GPU was assigned")
pathlib.Path(conf["model_name"] + ".tar.gz").write_text("weights")
"""
PREDICT = """
import json
conf = json.load(open(ARGUMENTS[1]))
open(conf["path"]).read()
shape, even = read_mrc(conf["even"])
shape, odd = read_mrc(conf["odd"])
n = shape[0] * shape[1] * shape[2]
mean = [(a + b) / 2 for a, b in zip(struct.unpack(f"<{n}f", even), struct.unpack(f"<{n}f", odd))]
os.mkdir(conf["output"])
write_mrc(conf["output"] + "/even.mrc", shape, struct.pack(f"<{n}f", *mean))
"""


@pytest.fixture
def tomogram(rng):
    even, odd = rng.normal(size=(2, 66, 68, 70)).astype(np.float32)
    return Tomogram(make_series(), even + odd, 10.0, even, odd)


@pytest.fixture
def cryocare(stand_in):
    for name, body in (("extract_train_data", EXTRACT), ("train", TRAIN), ("predict", PREDICT)):
        stand_in(f"cryoCARE_{name}.py", body)


def test_a_tomogram_is_denoised_from_its_halves(tomogram, context, cryocare):
    found = cryocare_denoise(tomogram, CryocareDenoiseParams(box_px=32), context)
    np.testing.assert_allclose(found.volume, (tomogram.even + tomogram.odd) / 2, atol=1e-6)
    assert found.even is None
    assert found.method.endswith("cryoCARE")
    assert context.figures["training_boxes"] == pytest.approx(1080)


def test_what_it_cannot_denoise(tomogram, context, cryocare):
    with pytest.raises(DataUnfitError, match="longer than two boxes of 72"):
        cryocare_denoise(tomogram, CryocareDenoiseParams(), context)
    with pytest.raises(DataUnfitError, match="has no even and odd tomogram"):
        cryocare_denoise(replace(tomogram, even=None), CryocareDenoiseParams(), context)
