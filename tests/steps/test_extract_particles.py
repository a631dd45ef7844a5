"""Extracted particles stand in the middle of their boxes, turned as RELION expects, and RELION reads them."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import starfile
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.shell_correlation import shell_correlation
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particle_export import write_relion5_particles
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.relion5 import write_relion5
from cryoloom.geometry.rotations import euler_zyz_deg, matrix_from_euler_zyz_deg
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel
from cryoloom.steps.extract_particles import ExtractParticlesParams, extract_particles
from makers.context import MemoryContext
from makers.particle_scene import make_scene, true_map
from makers.small_particles import TILTS_DEG, lumpy_particle, small_scene

# Beads off every grid; the second tells a particle's x axis, the third its y axis.
BEADS = np.array([[0.0, 0.0, 0.0], [60.0, 0.0, 0.0], [0.0, 35.0, 0.0]])
PLACES = np.array([[-161.3, 92.7, 61.1], [143.9, -111.2, -83.4], [7.7, 21.3, 110.6]])


def bead_scene(beads, rotations=None, shape_yx=(181, 200), places=PLACES):
    model = ParticleModel("beads", beads.astype(np.float32), np.full(len(beads), 400.0, np.float32))
    return make_scene(
        model,
        len(places),
        np.random.default_rng(3),
        shape_yx=shape_yx,
        pixel=5.0,
        tilts_deg=TILTS_DEG,
        dose=0.5,
        noise=0.0,
        b_factor=800.0,
        positions=places,
        rotations=np.broadcast_to(np.eye(3), (len(places), 3, 3)) if rotations is None else rotations,
        box_px=64,
    )


def extracted(scene, rows=None, **params):
    if rows is None:
        rows = ParticleRows.of(
            scene.series.name, scene.positions_xyz_angstrom, rotations=np.asarray(scene.rotations)
        )
    particles = Particles(
        scene.series.name, ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=150.0
    )
    context = MemoryContext()
    return extract_particles(particles, ExtractParticlesParams(**params), context), context


def middle(image):
    """Index of the brightest place, to a part of a pixel: a parabola through its neighbours."""
    peak = np.array(np.unravel_index(np.argmax(image), image.shape))
    found = peak.astype(float)
    for axis in range(image.ndim):
        step = np.eye(image.ndim, dtype=int)[axis]
        low, high = image[tuple(peak - step)], image[tuple(peak + step)]
        found[axis] += 0.5 * (low - high) / (low + high - 2 * image[tuple(peak)])
    return found


@pytest.mark.parametrize("multiply_ctf", [True, False])
@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_a_bead_stands_at_the_middle_of_every_image(place, binning, multiply_ctf):
    scene = bead_scene(BEADS[:1], places=place[None])
    made, context = extracted(scene, binning=binning, box_px=40, crop_px=24, multiply_ctf=multiply_ctf)
    (images,) = made.images
    assert images.pixels.shape == (len(TILTS_DEG), 24, 24)
    assert images.pixel_size_angstrom == 5.0 * binning
    for image in np.asarray(images.pixels):
        # Index 12 is the centre of the 23 pixels that remain; the CTF alone keeps an image symmetric.
        inner = image[1:, 1:]
        assert np.corrcoef(inner.ravel(), inner[::-1, ::-1].ravel())[0, 1] > 0.98
        if multiply_ctf:
            assert_allclose(middle(image), 12, atol=0.1)
    assert context.figures["n_particles"] == 1
    assert context.figures["median_tilts"] == len(TILTS_DEG)


def test_grey_values_do_not_depend_on_the_binning():
    scene = bead_scene(BEADS[:1])
    fine, coarse = (
        np.asarray(extracted(scene, binning=b, box_px=80 // b, crop_px=48 // b)[0].images[0].pixels)
        for b in (1, 2)
    )
    blocks = fine.reshape(len(fine), 24, 2, 24, 2).mean((2, 4))
    # Blocks stand half a fine pixel off the coarse pixels' centres, so sums are compared.
    assert_allclose(
        coarse.sum((1, 2)), blocks.sum((1, 2)), rtol=0.02, atol=0.02 * np.abs(blocks).sum((1, 2)).max()
    )


def test_volumes_stand_in_the_frame_that_relion_is_given():
    rotations = Rotation.random(3, np.random.default_rng(5)).as_matrix()
    scene = bead_scene(BEADS, rotations)
    rows = ParticleRows.of(
        scene.series.name,
        PLACES,
        rotations=rotations,
        prior_directions=rotations[:, :, 2],
        prior_width_deg=np.full(3, 10.0),
    )
    made, _ = extracted(scene, rows, box_px=48, crop_px=40, output="volumes")
    (images,) = made.images
    columns = images.particles.read()
    for i in range(3):
        frame = np.array([columns[f"f{a}{b}"][i] for a in range(3) for b in range(3)]).reshape(3, 3)
        volume = np.asarray(images.pixels)[40 * i : 40 * (i + 1)]
        weights = np.asarray(images.weights)[80 * i : 80 * i + 40]
        # Samples count for what they are: undo the density of the tilts.
        spectrum = np.fft.rfftn(np.fft.ifftshift(volume)) / np.maximum(weights, 0.02 * weights.max())
        volume = np.fft.fftshift(np.fft.irfftn(spectrum, s=volume.shape, axes=(0, 1, 2)))
        places = (rotations[i] @ BEADS.T).T @ frame  # A_sub^T R x
        for place in places:
            index = place[::-1] / 5.0 + 20
            low = np.rint(index).astype(int) - 2
            block = volume[tuple(slice(a, a + 5) for a in low)]
            # The missing wedge draws beads out; half a voxel would show all the same.
            assert_allclose(middle(np.pad(block, 1)) - 1 + low, index, atol=0.3)


def test_what_no_tilt_shows_is_left_out_and_counted():
    scene = bead_scene(BEADS[:1])
    rows = ParticleRows.of(scene.series.name, np.concatenate([PLACES, [[2000.0, 0, 0]]]))
    made, context = extracted(scene, rows, box_px=32)
    assert made.n_particles == 3
    assert context.figures["n_left_out"] == 1
    assert context.records["left_out"] == {scene.series.name: [4]}
    with pytest.raises(DataUnfitError, match="none of the 1 particles"):
        extracted(scene, rows.take(np.array([3])), box_px=32)
    with pytest.raises(DataUnfitError, match="expected even sizes, the crop within the box"):
        extracted(scene, box_px=32, crop_px=40)
    with pytest.raises(DataUnfitError, match="choose a smaller box_px"):
        extracted(scene, box_px=250)


def test_a_box_smaller_than_what_the_defocus_spreads_is_reported():
    _, context = extracted(bead_scene(BEADS[:1]), box_px=40)
    assert any("contains the signal spread by the defocus only to" in line for line in context.warnings)
    _, context = extracted(bead_scene(BEADS[:1]))
    assert not context.warnings


def exported(made, folder):
    write_relion5([(made.series[0], None)], folder)
    return write_relion5_particles([made], [], folder, {made.series[0].name})


@pytest.mark.parametrize("output", ["stacks", "volumes"])
def test_what_is_exported_is_read_again(tmp_path, output):
    made, _ = extracted(
        bead_scene(BEADS[:1]), box_px=32, crop_px=24, output=output, max_dose_per_angstrom2=4.0
    )
    # Refined afterwards: positions differ from where the particles were cut.
    rows = made.rows()
    moved = rows.positions_xyz_angstrom + np.array([1.5, -2.0, 3.0])
    rows = ParticleRows.of("TS_1", moved, rotations=Rotation.random(3, np.random.default_rng(1)).as_matrix())
    made = Particles("TS_1", ArrayTable(rows.columns()), made.series, images=made.images)
    files, notes = exported(made, tmp_path)
    assert not notes
    assert all(path.is_file() for path in files)
    found = read_relion_particles(tmp_path / "optimisation_set.star")
    assert_allclose(found.positions_xyz_angstrom, moved, atol=1e-4)
    assert_allclose(found.rotations, rows.rotations, atol=1e-6)
    blocks = starfile.read(tmp_path / "particles.star")
    optics, particles = blocks["optics"], blocks["particles"]
    assert_allclose(particles["rlnCenteredCoordinateXAngst"], PLACES[:, 0], atol=1e-4)
    assert int(optics["rlnImageSize"].iloc[0]) == 24
    assert int(optics["rlnImageDimensionality"].iloc[0]) == (2 if output == "stacks" else 3)
    assert int(blocks["general"]["rlnTomoSubTomosAre2DStacks"]) == (output == "stacks")
    early = [tilt.dose_start_per_angstrom2 < 4.0 for tilt in made.series[0].included]
    for i, row in particles.iterrows():
        pixels = MrcPixels(tmp_path / row["rlnImageName"])
        if output == "stacks":
            assert row["rlnTomoVisibleFrames"] == f"[{','.join(str(int(one)) for one in early)}]"
            assert pixels.shape == (sum(early), 24, 24)
            n = sum(early)
            assert_allclose(pixels[...], np.asarray(made.images[0].pixels)[n * i : n * (i + 1)])
        else:
            assert pixels.shape == (24, 24, 24)
            assert MrcPixels(tmp_path / row["rlnCtfImage"]).shape == (48, 24, 13)


def test_particles_without_images_are_left_out_of_them_and_reported(tmp_path):
    made, _ = extracted(bead_scene(BEADS[:1]), box_px=32)
    more = ParticleRows.joined(
        [made.rows(), ParticleRows.of("TS_1", PLACES[:1] + 20.0, particle=np.array([9]))]
    )
    made = Particles("TS_1", ArrayTable(more.columns()), made.series, images=made.images)
    _, notes = exported(made, tmp_path)
    assert "1 of 4 particles were not extracted" in notes[0]
    assert read_relion_particles(tmp_path / "particles.star").n == 3


@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
def test_relion_makes_the_particle_of_the_stacks(tmp_path):
    """RELION 3.1 knows no tilt series: every image gets the angles of its own view."""
    rng = np.random.default_rng(6)
    model = lumpy_particle(rng)
    scene = small_scene(model, 24, rng, noise=0.2)
    made, _ = extracted(scene, box_px=64, crop_px=48)
    exported(made, tmp_path)
    blocks = starfile.read(tmp_path / "particles.star")
    tilts = scene.series.included
    rows = []
    for _, row in blocks["particles"].iterrows():
        turned = matrix_from_euler_zyz_deg(*(row[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")))
        flags = [int(flag) for flag in row["rlnTomoVisibleFrames"].strip("[]").split(",")]
        for section, t in enumerate(np.flatnonzero(flags)):
            ctf, pose = tilts[t].ctf, tilts[t].pose
            place = [row[f"rlnCenteredCoordinate{axis}Angst"] for axis in "XYZ"]
            depth = (pose.matrix @ place)[2] * scene.series.handedness.applied
            rot, tilt, psi = euler_zyz_deg(pose.matrix @ turned)
            rows.append(
                {
                    "rlnImageName": f"{section + 1:06d}@{row['rlnImageName']}",
                    "rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": psi,
                    "rlnDefocusU": ctf.defocus_u_angstrom - depth,
                    "rlnDefocusV": ctf.defocus_v_angstrom - depth,
                    "rlnDefocusAngle": ctf.astigmatism_angle_deg,
                    "rlnCtfScalefactor": np.cos(np.deg2rad(pose.tilt_deg)),
                    "rlnOpticsGroup": 1,
                }
            )  # fmt: skip
    import pandas as pd

    columns = ["rlnOpticsGroup", "rlnOpticsGroupName", "rlnVoltage", "rlnSphericalAberration"]
    columns += ["rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality"]
    optics = blocks["optics"][[*columns, "rlnCtfDataAreCtfPremultiplied"]]
    starfile.write({"optics": optics, "particles": pd.DataFrame(rows)}, tmp_path / "views.star")
    command = ["relion_reconstruct", "--i", "views.star", "--o", "map.mrc", "--ctf", "--pad", "2"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    density = MrcPixels(tmp_path / "map.mrc")[...]
    truth = true_map(model, 48, 5.0)
    z, y, x = np.mgrid[:48, :48, :48] - 24
    mask = torch.tensor((np.sqrt(z**2 + y**2 + x**2) < 19).astype(np.float32))
    fsc = shell_correlation(torch.tensor(density) * mask, torch.tensor(truth) * mask)
    assert (fsc[2 : int(240 / 25)] > 0.9).all(), fsc


@pytest.mark.skipif(shutil.which("relion_image_handler") is None, reason="RELION is not installed")
def test_relion_opens_a_stack(tmp_path):
    made, _ = extracted(bead_scene(BEADS[:1]), box_px=32)
    exported(made, tmp_path)
    printed = subprocess.run(
        ["relion_image_handler", "--i", "Subtomograms/TS_1/1_stack2d.mrcs", "--stats"],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    assert printed.count("(x,y,z,n)= 32 x 32 x 1 x 1 ") == len(TILTS_DEG)
    assert "angpix = 5" in printed
