"""Back-projection with images corrected for the defocus at the depth of every voxel (3D-CTF).

A voxel lies at a depth ``w`` along each tilt's beam. NovaCTF (Turonova et al., J. Struct. Biol. 199, 2017)
corrects and filters the whole stack once per step of depth. But the CTF is smooth in depth: at frequency k
its phase changes by ``pi lambda k^2`` per angstrom. So each image is corrected at a few depths, from which a
polynomial gives all others to a few hundredths; the tomogram is made in slabs a step thick, and for each slab
every column of an image is the combination for its depth there, before the fast back-projection of one image
per tilt. Phase flips and Wiener filters are less smooth: they are interpolated linearly between corrections a
step apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.correction import Correction, depth_phase_rate
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.reconstruction.aligned_transfer import AlignedTransfer, aligned_transfer
from cryoloom.algorithms.reconstruction.back_projection import (
    COLUMN_OVERSAMPLING,
    WeightedBackProjection,
    filtering_threads,
)
from cryoloom.algorithms.reconstruction.depth_basis import DepthBasis, linear_basis, polynomial_basis
from cryoloom.geometry.depth import defocus_change, depth_behind
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.kernels.projection.backproject_deep import DepthMixtures, back_project_deep
from cryoloom.kernels.projection.blend_depths import blend_depths
from cryoloom.kernels.projection.correct_depths import METHODS, DepthFactors, TransformLengths, correct_depths
from cryoloom.kernels.tensors import new_tensor
from cryoloom.model import Ctf, Microscope, Pose

__all__ = ["DepthCorrectedBackProjection", "plan_depth_correction"]

_NODE_ERROR = 0.02
"""Largest error of a correction factor from combining depths, at the requested resolution."""
_SLAB_PHASE_RAD = 0.2
"""Chosen: largest error of the CTF's phase within a slab: costs at most 2 % (1 - cos) of a signal."""
_TILTS_AT_ONCE, _TILTS_APART = 8, 4
"""Tilts corrected at a time, at most, by vector code and by torch: each takes memory."""
_MANY_SLABS = 8
"""With more nodes, it is cheaper to combine them when they are read than once per slab."""


@dataclass(frozen=True, slots=True)
class DepthCorrectedBackProjection:
    """Common data of all strips of a tomogram. Make it with `plan_depth_correction`."""

    plain: WeightedBackProjection
    poses: tuple[Pose, ...]
    ctfs: tuple[Ctf, ...]
    microscope: Microscope
    correction: Correction
    handedness: float
    voxel_size_angstrom: float
    bases: tuple[DepthBasis, ...]
    """Depths of each tilt at which its image is corrected."""
    slab_voxels: int
    margin_px: int
    """Point spread of the correction."""

    @property
    def halo_rows(self) -> int:
        """Rows needed above and below those of a strip."""
        return self.plain.halo_rows + self.margin_px

    @property
    def n_nodes(self) -> int:
        """Corrected images of all tilts together."""
        return sum(len(basis.depths) for basis in self.bases)

    @property
    def held_row_bytes(self) -> int:
        """One row of all corrected images, and of the buffers for those made in parallel."""
        # Side by side: twice the image's spectrum and the corrected ones, with margins along x. Else:
        # filtered, three complex spectra, turns in single and double precision, factor, twice finer.
        most_nodes = max(len(basis.depths) for basis in self.bases)
        apart, n_columns = 24 * _TILTS_APART, self.plain.n_columns + 2 * self.margin_px
        return 4 * (self.n_nodes * self._n_fine + max(apart, (1 + most_nodes) * _TILTS_AT_ONCE) * n_columns)

    @property
    def strip_bytes(self) -> int:
        """Peak while a strip is made, including rows in the margin."""
        n_columns = self.plain.n_columns + 2 * self.margin_px
        return self.plain.strip_bytes + 16 * _TILTS_AT_ONCE * n_columns * (self.margin_px + STRIP_ROWS)

    @property
    def _n_fine(self) -> int:
        return COLUMN_OVERSAMPLING * self.plain.n_columns + 2

    def strips(self, aligned: torch.Tensor, first_row: int) -> Iterator[torch.Tensor]:
        """Strips ``(z, up to 32, x)`` from rows ``(tilt, n_rows + 2 halo, column)``, NaN outside images.

        first_row : row of the volume at which the strips begin. A strip is valid until the next is
        requested.
        """
        n_rows = aligned.shape[1] - 2 * self.halo_rows
        nodes = self._corrected(aligned, n_rows)
        n_z, n_y, n_x = self.plain.volume_shape
        is_fine = n_z > _MANY_SLABS * self.slab_voxels
        is_deep = is_fine and not self.plain.halo_rows
        images = torch.zeros((0 if is_deep else len(self.poses), *nodes.shape[2:]), device=nodes.device)
        columns = self.plain.columns.to(nodes.device)
        mixtures: DepthMixtures | None = None
        slabs: list[torch.Tensor] = []
        memory = ScratchBuffers()
        for strip, start in enumerate(range(0, n_rows, STRIP_ROWS)):
            height = min(STRIP_ROWS, n_rows - start)
            # With an x-tilt the depth depends on the row as well.
            if mixtures is None or self.plain.halo_rows:
                mixtures = self._mixtures(first_row + start + 0.5 * (height - 1) - n_y // 2)
                slabs = [] if is_deep else self._of_slabs(mixtures, nodes.device)
            volume = memory.tensor("volume", (n_z, height, n_x), nodes.device)
            if is_deep:
                back_project_deep(nodes[strip], mixtures, columns, self.slab_voxels, volume)
            else:
                self._fill_slabs(nodes[strip], mixtures.first_node, slabs, images, volume)
            yield volume

    def _fill_slabs(
        self,
        nodes: torch.Tensor,
        first_node: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        images: torch.Tensor,
        volume: torch.Tensor,
    ) -> None:
        """Fill a strip slab by slab, each from combinations of whole images, which are made in ``images``."""
        for z, weights in zip(range(0, len(volume), self.slab_voxels), slabs, strict=True):
            stop = min(len(volume), z + self.slab_voxels)
            blend_depths(nodes, weights, first_node, torch.from_numpy(self._columns_seen(z, stop)), images)
            self.plain.fill(images, volume[z:stop], z)

    def _corrected(self, aligned: torch.Tensor, n_rows: int) -> torch.Tensor:
        """Filtered images at every node's depth, ``(strip, node, fine column, row)``, outermost columns 0."""
        taps = self.plain.taps
        n_strips = math.ceil(n_rows / STRIP_ROWS)
        shape = (n_strips, self.n_nodes, self._n_fine, STRIP_ROWS + 2 * self.plain.halo_rows)
        if taps is not None and self.margin_px >= len(taps):
            nodes = new_tensor(shape, aligned.device)
            self._correct_side_by_side(aligned, torch.from_numpy(taps).to(aligned.device), nodes)
            return nodes
        nodes = torch.zeros(shape, device=aligned.device)
        with filtering_threads(_TILTS_APART) as pool:
            for _ in pool.map(lambda i: self._correct_tilt(aligned, i, nodes), range(len(aligned))):
                pass
        self.plain.sharpen_rows(nodes)
        return nodes

    def _correct_side_by_side(self, aligned: torch.Tensor, taps: torch.Tensor, nodes: torch.Tensor) -> None:
        """Fill the nodes of all tilts, 32 rows side by side."""
        half = (len(nodes) + 1) // 2 * STRIP_ROWS
        n_y = math.ceil((half + 2 * self.margin_px) / 16) * 16
        factors = DepthFactors(
            torch.from_numpy(np.array([self._transfer(i).numbers for i in range(len(aligned))], np.float32)),
            torch.from_numpy(self._first_node),
            torch.from_numpy(
                np.concatenate([-defocus_change(basis.depths, self.handedness) for basis in self.bases])
            ).float(),
            METHODS.index(self.correction.method),
            1 / self.correction.snr,
        )
        correct_depths(
            aligned.contiguous(),
            self.plain.filters.to(aligned.device),
            factors,
            TransformLengths(
                self.plain.n_padded,
                good_fft_size(self.plain.n_columns + 2 * self.margin_px),
                good_fft_size(n_y),
            ),
            self.margin_px,
            taps,
            min(len(aligned), numba.get_num_threads(), _TILTS_AT_ONCE),
            nodes,
        )

    def _transfer(self, i: int) -> AlignedTransfer:
        return aligned_transfer(self.poses[i], self.ctfs[i], self.microscope, self.voxel_size_angstrom)

    def _correct_tilt(self, aligned: torch.Tensor, i: int, nodes: torch.Tensor) -> None:
        """Fill one tilt's nodes, on the calling thread alone; ``aligned`` and ``nodes`` are of all tilts."""
        n_strips, _, _, width = nodes.shape
        margin, n_rows = self.margin_px, aligned.shape[1]
        shape = (good_fft_size(n_rows), good_fft_size(self.plain.n_columns + 2 * margin))
        ramped = self.plain.filtered_rows(aligned[i : i + 1], i, margin)
        spectrum = torch.fft.rfft2(ramped, s=shape) / shape[1]
        turns, per_angstrom = self._transfer(i).over_rfft2(shape, aligned.device)
        # A last strip may be shorter: rows beyond it are 0.
        rows = torch.zeros(
            ((n_strips - 1) * STRIP_ROWS + width, spectrum.shape[1]),
            dtype=spectrum.dtype,
            device=aligned.device,
        )
        for node, depth in enumerate(self.bases[i].depths, int(self._first_node[i])):
            phase = turns + float(defocus_change(depth, self.handedness)) * per_angstrom
            factor = self.correction.of(torch.sin(2 * math.pi * phase))
            corrected = torch.fft.ifft(spectrum * factor, dim=0)
            rows[: n_rows - 2 * margin] = corrected[margin : n_rows - margin]
            strips = rows.unfold(0, width, STRIP_ROWS).transpose(1, 2)
            self.plain.turn_finer(strips, shape[1], margin, nodes[:, node])

    @property
    def _first_node(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(basis.depths) for basis in self.bases)])

    def _mixtures(self, row: float) -> DepthMixtures:
        """How the corrected images of a strip about ``row`` from the middle of the volume depend on depth."""
        voxel, (n_z, _, _) = self.voxel_size_angstrom, self.plain.volume_shape
        first = -1 / COLUMN_OVERSAMPLING - self.plain.n_columns // 2
        ends = np.array([first, first + 1 / COLUMN_OVERSAMPLING])
        angles, bottom = [(pose.tilt_deg, pose.x_tilt_deg) for pose in self.poses], -(n_z // 2)
        at_0 = np.array([depth_behind(*tilts, ends, row, bottom) for tilts in angles])
        above = np.array([depth_behind(*tilts, ends[:1], row, bottom + 1) for tilts in angles])
        lines = np.column_stack([at_0[:, 0], at_0[:, 1] - at_0[:, 0], above[:, 0] - at_0[:, 0]])
        return DepthMixtures(
            first_node=torch.from_numpy(self._first_node),
            node_depths=torch.from_numpy(np.concatenate([basis.depths for basis in self.bases])),
            node_scales=torch.from_numpy(np.concatenate([basis.scales for basis in self.bases])),
            lines=torch.from_numpy(voxel * lines),
            ranges=torch.tensor([basis.range for basis in self.bases], dtype=torch.float64),
            steps=torch.tensor([basis.step for basis in self.bases], dtype=torch.float64),
        )

    def _of_slabs(self, mixtures: DepthMixtures, device: torch.device) -> list[torch.Tensor]:
        """Weights ``(node, fine column)`` of the corrected images for each slab, about its middle height."""
        n_z, columns = self.plain.volume_shape[0], np.arange(self._n_fine)
        slabs = []
        for first in range(0, n_z, self.slab_voxels):
            z = 0.5 * (first + min(n_z, first + self.slab_voxels) - 1)
            weights = [
                basis.weights(d0 + dc * columns + dz * z)
                for basis, (d0, dc, dz) in zip(self.bases, mixtures.lines.numpy(), strict=True)
            ]
            slabs.append(torch.from_numpy(np.concatenate(weights).astype(np.float32)).to(device))
        return slabs

    def _columns_seen(self, z_start: int, z_stop: int) -> NDArray[np.int64]:
        """First fine column a slab reads of each tilt, and the one after the last, ``(tilt, 2)``."""
        u0, ux, uz = self.plain.columns.numpy().T.astype(np.float64)
        ends = [u0 + ux * x + uz * z for x in (0, self.plain.volume_shape[2]) for z in (z_start, z_stop)]
        low = np.clip(np.min(ends, axis=0) - 1, 0, self._n_fine)
        high = np.clip(np.max(ends, axis=0) + 3, 0, self._n_fine)
        return np.stack([low, high], axis=1).astype(np.int64)


def plan_depth_correction(
    plain: WeightedBackProjection,
    poses: Sequence[Pose],
    ctfs: Sequence[Ctf],
    microscope: Microscope,
    correction: Correction,
    *,
    handedness: float,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
    step_angstrom: float | None,
) -> DepthCorrectedBackProjection:
    """Depths and slabs that are fine enough for the requested resolution.

    handedness : +1 or -1; 0 if it is not known: then one correction per image, independent of depth.
    step_angstrom : thickness of the slabs, instead of one from the resolution.
    """
    if handedness == 0:
        step_angstrom = plain.volume_shape[0] * voxel_size_angstrom
    rate = depth_phase_rate(resolution_angstrom, microscope)
    extent = [0.5 * n * voxel_size_angstrom for n in plain.volume_shape]
    bases, steepest = [], 1.0
    for pose in poses:
        along_x, along_y, along_z = np.abs(pose.matrix[2])
        reach = extent[2] * along_x + extent[1] * along_y + extent[0] * along_z if handedness else 0.0
        make = polynomial_basis if correction.method == "multiply" else linear_basis
        bases.append(make(-reach, reach, rate, _NODE_ERROR))
        per_height = float(depth_behind(pose.tilt_deg, pose.x_tilt_deg, 0.0, 0.0, 1.0))
        steepest = max(steepest, per_height)
    step = step_angstrom or 2 * _SLAB_PHASE_RAD / (rate * steepest)
    spread = microscope.wavelength_angstrom / resolution_angstrom / voxel_size_angstrom
    reach_px = spread * max(abs(ctf.defocus_angstrom) for ctf in ctfs)
    return DepthCorrectedBackProjection(
        plain=plain,
        poses=tuple(poses),
        ctfs=tuple(ctfs),
        microscope=microscope,
        correction=correction,
        handedness=handedness,
        voxel_size_angstrom=voxel_size_angstrom,
        bases=tuple(bases),
        slab_voxels=max(1, min(plain.volume_shape[0], int(step / voxel_size_angstrom))),
        margin_px=min(128, plain.n_columns // 2, math.ceil(reach_px) + 16),
    )
