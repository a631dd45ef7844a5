"""estimate_slab on images of a tilted layer of blobs, with gold below it, and laying it flat."""

import numpy as np
import pytest

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model import Ctf, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.estimate_slab import EstimateSlabParams, HandSlab, estimate_slab
from makers.bead_images import coloured_noise
from makers.made_series import aligned, make_series

SIDE, PIXEL = 140, 16.0
ANGLES = np.arange(-54.0, 55.0, 5.4)
THICKNESS, Z_OFFSET, TILT_X, TILT_Y = 900.0, 200.0, 1.0, 9.0


def make_layer(n_gold):
    """2500 weak blobs between two tilted planes, gold beads 500 A below them, and noise."""
    rng = np.random.default_rng(5)
    half = SIDE * PIXEL / 2
    slab = rotation_y(TILT_Y) @ rotation_x(TILT_X)
    blobs = rng.uniform(-1, 1, (2500, 3)) * [2.2 * half, 1.3 * half, THICKNESS / 2]
    gold = np.column_stack(
        [rng.uniform(-0.7, 0.7, (n_gold, 2)) * half, np.full(n_gold, -THICKNESS / 2 - 500.0)]
    )
    points = np.concatenate([blobs, gold]) @ slab.T + [0, 0, Z_OFFSET]
    weight = np.concatenate([rng.choice([-1.0, 1.0], len(blobs)), np.full(len(gold), -25.0)])
    geometry = SeriesGeometry.start(ANGLES, 84.0, rng.normal(0, 40, (len(ANGLES), 2)))
    y = x = np.arange(SIDE) - SIDE // 2
    images = np.empty((len(ANGLES), SIDE, SIDE), np.float32)
    for image, places in zip(images, geometry.project(points) / PIXEL, strict=True):
        along_x = np.exp(-((x - places[:, :1]) ** 2) / (2 * 2.2**2))
        along_y = np.exp(-((y - places[:, 1:]) ** 2) / (2 * 2.2**2))
        image[:] = 100 + (along_y * weight[:, None]).T @ along_x + 2.0 * coloured_noise(rng, (SIDE, SIDE))
    tilts = tuple(
        Tilt(
            i,
            float(a),
            3.0 * i,
            3.0 * i + 3,
            section=i,
            pose=Pose(84.0, float(a), shift_xy_angstrom=tuple(geometry.shift_xy_angstrom[i])),
            ctf=Ctf(30000.0, 30000.0, 0.0),
        )
        for i, a in enumerate(ANGLES)
    )
    return TiltSeries(
        "TS", Microscope(), PIXEL, tilts, handedness=Sourced(applied=1.0), stack=Stack(images, PIXEL)
    )


def test_the_layer_is_found_beside_the_gold(context):
    layer = make_layer(10)
    after = estimate_slab(layer, EstimateSlabParams(search_height_angstrom=4000), context)
    slab = after.slab
    assert context.figures["n_beads"] == pytest.approx(10, abs=2)
    # Blobs of 35 A reach some 50 A beyond the planes their centres keep within.
    assert slab.thickness_angstrom.measured == pytest.approx(THICKNESS + 100, rel=0.15)
    assert slab.z_offset_angstrom.measured == pytest.approx(Z_OFFSET, abs=50)
    # In so small a field, 1.0 to 1.4 degrees is the error that the step itself tells.
    assert context.figures["pretilt_error_deg"] < 2.0
    assert slab.tilt_y_deg.measured == pytest.approx(TILT_Y, abs=2.0)
    assert slab.tilt_x_deg.measured == pytest.approx(TILT_X, abs=2.0)
    assert not slab.is_applied
    assert after.tilts == layer.tilts
    picture = np.array(context.records["slab"]["slice"])
    assert picture.shape == (
        len(context.records["slab"]["z_angstrom"]),
        len(context.records["slab"]["x_angstrom"]),
    )


@pytest.mark.slow
def test_laid_flat_it_is_flat(context):
    layer = make_layer(0)
    params = EstimateSlabParams(search_height_angstrom=4000, fill_beads=False, apply=True)
    flat = estimate_slab(layer, params, context)
    slab = flat.slab
    assert slab.is_applied
    assert flat.tilts[0].pose.tilt_deg == pytest.approx(ANGLES[0] + slab.tilt_y_deg.measured, abs=0.1)
    assert flat.tilt_offset_deg.applied == pytest.approx(slab.tilt_y_deg.measured)
    least = flat.tilts[len(ANGLES) // 2]
    assert least.ctf.defocus_u_angstrom == pytest.approx(30000 - slab.z_offset_angstrom.measured, abs=5)
    params = EstimateSlabParams(search_height_angstrom=4000, fill_beads=False)
    again = estimate_slab(flat, params, context).slab
    assert abs(again.z_offset_angstrom.measured) < 40
    assert abs(again.tilt_y_deg.measured) < 1.0


def test_an_alignment_is_needed(context):
    layer = make_layer(0)
    unaligned = layer.with_tilts({t.acquisition_index: {"pose": None} for t in layer.tilts})
    with pytest.raises(DataUnfitError, match="align_series first"):
        estimate_slab(unaligned, EstimateSlabParams(), context)


def test_a_slab_set_by_hand_is_taken_as_it_is(context):
    """Nothing is measured: the series has no image that could be."""
    series = aligned(make_series())
    by_hand = HandSlab(thickness_angstrom=900.0, z_offset_angstrom=120.0, tilt_x_deg=1.0, tilt_y_deg=-8.0)
    after = estimate_slab(series, EstimateSlabParams(by_hand=by_hand), context)
    assert after.slab.plane[0] == 120.0
    assert after.slab.thickness_angstrom.measured_by == "user"
    assert context.figures["pretilt_y_deg"] == -8.0
    flat = estimate_slab(series, EstimateSlabParams(by_hand=by_hand, apply=True), context)
    assert flat.slab.is_applied
    place = np.array([0.0, 0.0, 120.0])  # the slab's middle is the origin of the poses now
    for before, moved in zip(series.included, flat.included, strict=True):
        assert before.pose.matrix[:2] @ place + before.pose.shift_xy_angstrom == pytest.approx(
            np.array(moved.pose.shift_xy_angstrom)
        )
