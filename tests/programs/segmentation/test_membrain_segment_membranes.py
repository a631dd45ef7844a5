"""MemBrain-seg: its command, its result's name, and points on what it marks."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Tomogram
from cryoloom.programs.segmentation.membrain_segment_membranes import (
    MembrainSegmentMembranesParams,
    membrain_segment_membranes,
)
from makers.made_series import aligned, make_series

# Options of membrain-seg's segment_cli.py; it marks what is dark, and names its result by the weights.
MEMBRAIN = """
if ARGUMENTS.pop(0) != "segment":
    fail("segment")
given = options(dict.fromkeys(["--tomogram-path", "--ckpt-path", "--out-folder", "--in-pixel-size",
    "--out-pixel-size", "--connected-component-thres", "--segmentation-threshold",
    "--sliding-window-size"], 1), flags=("--rescale-patches", "--no-rescale-patches",
    "--store-connected-components", "--test-time-augmentation", "--no-test-time-augmentation"))
open(given["--ckpt-path"][0]).read()
shape, body = read_mrc(given["--tomogram-path"][0])
count = shape[0] * shape[1] * shape[2]
values = [1.0 if value < -0.5 else 0.0 for value in struct.unpack(f"<{count}f", body)]
token = given["--ckpt-path"][0].split("-val_loss")[0]
os.makedirs(given["--out-folder"][0])
out = given["--out-folder"][0] + "tomogram_" + token + "_segmented.mrc"
write_mrc(out, shape, struct.pack(f"<{count}f", *values))
pathlib.Path("words.txt").write_text(" ".join(ARGUMENTS))
"""


@pytest.fixture
def tomogram():
    """A vesicle of radius 180 A, dark, its caps too."""
    shape = (48, 50, 52)
    distance = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - (24, 25, 26), axis=-1)
    volume = np.where(np.abs(distance - 18) < 2.5, -1.0, 0.0).astype(np.float32)
    return Tomogram(aligned(make_series()), volume, 10.0)


@pytest.fixture
def weights(tmp_path, stand_in):
    stand_in("membrain", MEMBRAIN)
    path = tmp_path / "MemBrain v10-val_loss0.3.ckpt"
    path.write_text("weights")
    return path


def test_a_vesicle_is_found_with_outward_normals(tomogram, weights, context):
    params = MembrainSegmentMembranesParams(weights=weights, least_voxels=50, augment=False)
    found = membrain_segment_membranes(tomogram, params, context)
    rows = found.rows()
    assert context.figures["n_membranes"] == 1
    assert context.figures["n_vesicles"] == 1
    assert context.figures["area_um2"] == pytest.approx(4 * np.pi * 180**2 * 1e-8, rel=0.4)
    distance = np.linalg.norm(rows.positions_xyz_angstrom, axis=1)
    assert np.abs(distance - 180).max() < 15
    outward = np.einsum("nd,nd->n", rows.positions_xyz_angstrom / distance[:, None], rows.prior_directions)
    assert np.median(outward) > 0.98
    words = (context.scratch() / "words.txt").read_text()
    assert "--store-connected-components --connected-component-thres 50" in words
    assert "--no-test-time-augmentation" in words


def test_no_membrane_is_said(tomogram, weights, context):
    params = MembrainSegmentMembranesParams(weights=weights, min_area_angstrom2=1e9)
    assert membrain_segment_membranes(tomogram, params, context).n_particles == 0
    assert "no membrane was found" in context.warnings[0]


def test_weights_are_asked_for(tomogram, weights, context, tmp_path):
    for given in (None, tmp_path / "none.ckpt"):
        with pytest.raises(UserInputError, match="needs a trained network"):
            membrain_segment_membranes(tomogram, MembrainSegmentMembranesParams(weights=given), context)


def test_a_volume_of_another_shape_is_refused(tomogram, weights, context, stand_in):
    stand_in("membrain", MEMBRAIN.replace("write_mrc(out, shape", "write_mrc(out, shape[::-1]"))
    with pytest.raises(DataUnfitError, match=r"\(52, 50, 48\) voxels, expected \(48, 50, 52\)"):
        membrain_segment_membranes(tomogram, MembrainSegmentMembranesParams(weights=weights), context)
