"""Images of particles at known poses as Fourier samples, without any CTF: what tests of poses need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.maps import radial_terms
from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages
from cryoloom.algorithms.averaging.passes import (
    PassResult,
    Poses,
    insert_pass,
    refine_pass,
    search_pass,
)
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.pose_search import frames_of, shift_phases
from cryoloom.algorithms.averaging.reconstruction import Insertion
from cryoloom.algorithms.averaging.refinement import PassOrder
from cryoloom.algorithms.initial_model.own_axes import class_sums, own_axes
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.kernels.slices.fourier_slices import take_slices

BOX_PX, PIXEL_ANGSTROM = 24, 8.0
SMALL_DIAMETER_ANGSTROM = 130.0


def random_map(rng: np.random.Generator) -> torch.Tensor:
    """60 voxels at random in the middle of a box."""
    density = np.zeros((BOX_PX,) * 3, np.float32)
    density[tuple(rng.integers(7, 17, (3, 60)))] = 1.0
    return torch.tensor(density)


def symmetric_map(group: str, rng: np.random.Generator) -> torch.Tensor:
    """Lumps at random within 60 A and all their equivalents, about the middle of a box."""
    places = rng.normal(size=(4, 3))
    places *= (rng.uniform(30.0, 58.0, (4, 1)) / PIXEL_ANGSTROM) / np.linalg.norm(
        places, axis=1, keepdims=True
    )
    axis = np.arange(BOX_PX) - BOX_PX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    density = np.zeros((BOX_PX,) * 3, np.float32)
    for place in (symmetry_matrices(group) @ places.T).transpose(0, 2, 1).reshape(-1, 3):
        density += np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2))
    return torch.tensor(density)


def random_cube(rng: np.random.Generator) -> torch.Tensor:
    """Half cube of a `random_map`."""
    return cube_of(random_map(rng))


def cube_of(density: torch.Tensor) -> torch.Tensor:
    """Half cube of a map of this box."""
    return cube_of_map(density, float(HalfPlane.of_box(BOX_PX, PIXEL_ANGSTROM).radius[-1]))


def made_images(
    cube: torch.Tensor,
    rotations: np.ndarray,
    shifts: np.ndarray,
    deviation: float,
    rng: np.random.Generator,
    tilt_step_deg: float = 20.0,
) -> ParticleImages:
    """Images of particles at poses, the significance of each being ``deviation``.

    The third tilt does not show the first particle.
    """
    plane = HalfPlane.of_box(BOX_PX, PIXEL_ANGSTROM)
    angles = np.arange(-60.0, 61.0, tilt_step_deg)
    matrices = Rotation.from_euler("ZY", [[85.0, a] for a in angles], degrees=True).as_matrix()
    shape = (len(rotations), len(angles), len(plane.kxy))
    images = ParticleImages(
        plane,
        matrices,
        np.arange(len(angles)),
        np.zeros(shape, np.complex64),
        np.ones(shape, np.float32),
        np.ones(shape[:2], bool),
    )
    slices = take_slices(cube, frames_of(matrices, rotations).reshape(-1, 2, 3), plane.samples)
    model = slices.reshape(shape).numpy() * shift_phases(images, shifts, shape[2]).numpy().conj()
    images.weights[:] = (deviation**2 / (np.abs(model) ** 2).sum(axis=(1, 2)))[:, None, None]
    images.weights[0, 2] = 0
    noise = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    images.data[:] = images.weights * model + np.sqrt(images.weights) * noise
    return images


@dataclass
class MemoryWorker:
    """A `refinement.Worker` and `symmetric_start.SymmetricWorker` over one series' images in memory."""

    images: ParticleImages
    half: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray
    orders: list[PassOrder] = field(default_factory=list)
    """Passes that were asked for."""
    dropped_below: list[float] = field(default_factory=list)
    twins_within: list[float] = field(default_factory=list)
    image_pixel_angstrom: float = PIXEL_ANGSTROM

    def __post_init__(self) -> None:
        self.every_half = self.half

    @property
    def poses(self) -> list[Poses]:
        return [Poses(self.half, self.rotations, self.shifts, PosePrior())]

    def layout(self, resolution_angstrom: float) -> BoxLayout:
        return BoxLayout(BOX_PX, BOX_PX, BOX_PX, PIXEL_ANGSTROM)

    def extract(self, layout: BoxLayout) -> None:
        assert layout.plane.box_px == BOX_PX

    def radial_terms(self, reference: torch.Tensor, band_angstrom: float) -> tuple[float, float]:
        return radial_terms(self.images, cube_of(reference), self.images.plane.n_within(band_angstrom))

    def run(self, order: PassOrder) -> Iterator[PassResult]:
        self.orders.append(order)
        if order.kind == "insert":
            halves = insert_pass(self.images, self.poses[0], order.insert_to)
            nothing = np.zeros(0)
            yield PassResult(
                np.zeros((0, 3, 3)), np.zeros((0, 3)), nothing, nothing, nothing, nothing,
                np.zeros((0, 0, 2)), np.zeros((0, 0, 4)), halves,
            )  # fmt: skip
            return
        assert order.references is not None
        cubes = [cube_of(reference) for reference in order.references]
        n_used = self.images.plane.n_within(order.band_angstrom)
        if order.kind == "local_refine":
            result = refine_pass(self.images, cubes, self.poses[0], n_used, order.insert_to)
        else:
            assert order.grid is not None
            result = search_pass(
                self.images, cubes, self.poses[0], order.grid, n_used, order.insert_to,
                then_refine=order.kind == "search_refine",
            )  # fmt: skip
        yield result
        self.rotations, self.shifts = result.rotations, result.shifts_xyz_angstrom

    def own_axes(self, group: str, band_angstrom: float) -> np.ndarray:
        found = own_axes(self.images, self.shifts, group, SMALL_DIAMETER_ANGSTROM, band_angstrom)
        self.rotations = found.rotations
        return found.significance

    def class_sums(
        self, group: str, references: tuple[torch.Tensor, torch.Tensor], band_angstrom: float
    ) -> np.ndarray:
        sums = {}
        for half in (1, 2):
            mine = np.flatnonzero(self.half == half)
            made = class_sums(
                self.images.take(mine), cube_of(references[half - 1]), self.shifts[mine], group,
                SMALL_DIAMETER_ANGSTROM, band_angstrom,
            )  # fmt: skip
            sums |= dict(zip(mine.tolist(), made, strict=True))
        return np.array([sums[i] for i in sorted(sums)])

    def drop_weak(self, least_scale: float) -> None:
        self.dropped_below.append(least_scale)

    def drop_twins(self, distance_angstrom: float) -> None:
        self.twins_within.append(distance_angstrom)

    def shuffled(self, rng: np.random.Generator, insert_to: float) -> tuple[Insertion, Insertion]:
        mixed = self.rotations[rng.permutation(len(self.rotations))]
        return insert_pass(self.images, Poses(self.half, mixed, self.shifts, PosePrior()), insert_to)

    def scatter(self, rng: np.random.Generator) -> None:
        self.rotations = Rotation.random(len(self.half), rng).as_matrix()
        self.shifts = np.zeros_like(self.shifts)

    def use_at_most(self, n: int, rng: np.random.Generator) -> None:
        self.half = np.where(np.cumsum(self.every_half > 0) <= n, self.every_half, 0)

    def use_all(self) -> None:
        self.half = self.every_half

    def kept_poses(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rotations.copy(), self.shifts.copy()

    def restore(self, poses: tuple[np.ndarray, np.ndarray]) -> None:
        self.rotations, self.shifts = poses
