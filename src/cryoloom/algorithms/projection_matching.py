"""Projection matching: every image against the projection of a reconstruction that does not contain it.

The images are turned so that the tilt axis is y, filtered and back-projected into a small volume; its
projection along each beam, less what that image itself put in, is what the other images foretell (Winkler &
Taylor, Ultramicroscopy 106, 2006; AreTomo: Zheng et al., J. Struct. Biol. X 6, 2022). Unlike a stretched
neighbour it has the specimen's depth in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.coarse_alignment import prepared_for_correlation
from cryoloom.algorithms.correlate import Overlap, find_peaks, overlap_correlation
from cryoloom.algorithms.fourier import good_fft_size
from cryoloom.algorithms.radial_filter import exact_weights
from cryoloom.algorithms.series_geometry import SeriesGeometry
from cryoloom.algorithms.tilt_images import TiltImages, edge_taper
from cryoloom.kernels.backproject import STRIP_ROWS, back_project
from cryoloom.kernels.forward_project import forward_project

__all__ = ["follow_up", "foretold_images", "match_projections"]

Array = NDArray[np.float64]

HALF_DEPTH_ANGSTROM = 900.0  # of the volume, either side of z = 0
SPECIMEN_ANGSTROM = (
    1500.0  # thickness that sets how far in Fourier space neighbouring tilts speak of each other
)


def foretold_images(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    only: NDArray[np.bool_] | None = None,
) -> torch.Tensor:
    """What the other images foretell of each, ``(n, y, x)`` in that image's own frame; 0 where not usable.

    plane : middle of the specimen as ``z = a + b x + c y``, (a in angstrom, b, c); it is taken to be about
    `SPECIMEN_ANGSTROM` thick. only : views to foretell, of the usable ones.
    """
    frame = _Frame.of(tilt_images, geometry, usable, plane)
    chosen = np.flatnonzero((usable if only is None else only)[frame.views])
    foretold = frame.foretell(frame.aligned(tilt_images.images), np.ones(len(frame.views)), chosen)
    result = torch.zeros_like(tilt_images.images)
    result[torch.from_numpy(frame.views[chosen])] = frame.turned_back(foretold, chosen)
    return result


def follow_up(displacement: Array, weight: Array, tilt_deg: Array, band_angstrom: float = 80.0) -> Array:
    """Displacements ``(n_views, ..., 2)`` of images, from those against what is foretold of them.

    What is foretold of an image moves with the others, so a smooth error over tilts shows only in part:
    ``displacement = e - W e``, with W the share each image has in what is foretold of another (how much of
    their Fourier slabs overlap). Solved by least squares. weight : (n_views, ...), 0 where not measured.
    """
    apart = np.abs(np.sin(np.deg2rad(tilt_deg[:, None] - tilt_deg[None, :])))
    frequency = np.linspace(0.1, 1.0, 10) / band_angstrom
    overlap = np.clip(1 - SPECIMEN_ANGSTROM * apart[..., None] * frequency, 0, None).sum(axis=-1)
    np.fill_diagonal(overlap, 0.0)
    share = overlap / (overlap.sum(axis=1, keepdims=True) + 1e-9)
    system = np.eye(len(tilt_deg)) - share
    flat_weight = weight.reshape(len(tilt_deg), -1)
    flat = np.where(flat_weight[..., None] > 0, displacement.reshape(len(tilt_deg), -1, 2), 0.0)
    # A whisper of ridge settles what is free: a common shift, and images nobody measured.
    normal = np.einsum("vi,vp,vj->pij", system, flat_weight, system) + 1e-3 * np.eye(len(tilt_deg))
    right = np.einsum("vi,vp,vpk->pik", system, flat_weight, flat)
    return np.linalg.solve(normal, right).transpose(1, 0, 2).reshape(displacement.shape)


def match_projections(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    *,
    max_shift_angstrom: float,
    n_rounds: int = 2,
    plane: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> SeriesGeometry:
    """Shifts of whole images by projection matching, all against all; first outwards as the volume grows."""
    geometry = start
    least = int(np.argmin(np.where(usable, np.abs(start.tilt_deg), np.inf)))
    order = [
        int(i) for i in np.argsort(np.abs(start.tilt_deg - start.tilt_deg[least]), kind="stable") if usable[i]
    ]
    prepared, window = prepared_for_correlation(tilt_images)
    placed = np.zeros(len(usable), dtype=bool)
    placed[order[:3]] = True
    step = 4  # views at a time: neighbours of one ring cannot foretell each other
    for first in range(3, len(order), step):
        fresh = order[first : first + step]
        geometry = _matched(tilt_images, prepared, window, geometry, placed, fresh, max_shift_angstrom, plane)
        placed[fresh] = True
    for round_ in range(n_rounds):
        reach = max_shift_angstrom / 2 ** (round_ + 1)
        geometry = _matched(tilt_images, prepared, window, geometry, placed, order, reach, plane)
    return geometry


def _matched(
    tilt_images: TiltImages,
    prepared: torch.Tensor,
    window: torch.Tensor,
    geometry: SeriesGeometry,
    placed: NDArray[np.bool_],
    views: list[int],
    reach_angstrom: float,
    plane: tuple[float, float, float],
) -> SeriesGeometry:
    """The geometry with the shifts of ``views`` found against what the placed ones foretell."""
    known = placed.copy()
    known[views] = True
    frame = _Frame.of(tilt_images, geometry, known, plane)
    chosen = np.searchsorted(frame.views, views)
    foretold = frame.foretell(frame.aligned(tilt_images.images), placed[frame.views].astype(float), chosen)
    back = frame.turned_back(foretold, chosen)
    spread = back.flatten(1).std(dim=1)[:, None, None] + 1e-9
    reference = TiltImages(
        back / spread, tilt_images.pixel_size_angstrom, tilt_images.mean, tilt_images.deviation
    )
    whitened, _ = prepared_for_correlation(reference)
    covered = (back.abs() > 0).to(back)
    shape = tilt_images.shape_yx
    canvas = tuple(good_fft_size(round(1.3 * n)) for n in shape)
    pad = (0, canvas[1] - shape[1], 0, canvas[0] - shape[0])
    windows = window.expand(len(views), -1, -1)
    maps = overlap_correlation(
        Overlap(functional.pad(whitened, pad), functional.pad(windows * covered, pad)),
        Overlap(functional.pad(prepared[views], pad), functional.pad(windows, pad)),
    )
    peaks = find_peaks(maps, reach_angstrom / tilt_images.pixel_size_angstrom)
    found = peaks.shifts_yx_px.flip(-1).double().cpu().numpy() * tilt_images.pixel_size_angstrom
    shift = geometry.shift_xy_angstrom.copy()
    if placed[views].all():
        weight = np.clip(peaks.prominence.double().cpu().numpy() / 20.0, 0.05, 1.0)
        found = follow_up(found, weight, geometry.tilt_deg[views])
    shift[views] += found
    return replace(geometry, shift_xy_angstrom=shift)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Images turned so that the axis is y: (row along the axis, column across), and the volume's geometry."""

    views: NDArray[np.int64]
    tilt_rad: Array
    axis_rad: Array
    shift_px: Array
    image_shape_yx: tuple[int, int]
    shape: tuple[int, int]
    n_z: int
    pixel_size_angstrom: float
    plane: tuple[float, float, float]

    @classmethod
    def of(
        cls,
        tilt_images: TiltImages,
        geometry: SeriesGeometry,
        usable: NDArray[np.bool_],
        plane: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> _Frame:
        views = np.flatnonzero(usable)
        pixel = tilt_images.pixel_size_angstrom
        n_y, n_x = tilt_images.shape_yx
        turn = (
            abs(np.sin(np.deg2rad(geometry.mean_axis_deg))),
            abs(np.cos(np.deg2rad(geometry.mean_axis_deg))),
        )
        rows, columns = n_y * turn[1] + n_x * turn[0], n_y * turn[0] + n_x * turn[1]
        lift = abs(plane[0]) + (abs(plane[1]) * columns + abs(plane[2]) * rows) * pixel / 2
        rows = STRIP_ROWS * int(np.ceil(rows / STRIP_ROWS))
        return cls(
            views,
            np.deg2rad(geometry.tilt_deg[views]),
            np.deg2rad(geometry.axis_deg[views]),
            geometry.shift_xy_angstrom[views] / pixel,
            (n_y, n_x),
            (rows, 2 * int(np.ceil(columns / 2))),
            2 * round((HALF_DEPTH_ANGSTROM + lift) / pixel),
            pixel,
            plane,
        )

    def aligned(self, images: torch.Tensor) -> torch.Tensor:
        """``(view, row, column)``: soft-edged, turned and shifted; 0 outside."""
        n_y, n_x = self.image_shape_yx
        taper = edge_taper((n_y, n_x), 0.06, images.device)
        cos, sin = np.cos(self.axis_rad), np.sin(self.axis_rad)
        # image xy = shift + Rz(axis) (u, v)
        matrix = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
        return self._sampled(images[torch.from_numpy(self.views)] * taper, matrix, self.shift_px, self.shape)

    def turned_back(self, aligned: torch.Tensor, views: NDArray[np.int64]) -> torch.Tensor:
        """Inverse of `aligned` for those views: ``(len(views), y, x)`` in the images' own frames."""
        cos, sin = np.cos(self.axis_rad[views]), np.sin(self.axis_rad[views])
        matrix = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
        offset = -np.einsum("nij,nj->ni", matrix, self.shift_px[views])
        return self._sampled(aligned, matrix, offset, self.image_shape_yx)

    @staticmethod
    def _sampled(
        images: torch.Tensor, matrix: Array, offset_px: Array, shape: tuple[int, int]
    ) -> torch.Tensor:
        """Images at ``offset + matrix u`` for every pixel u of the result, both xy from the centres."""
        size, out = np.array([images.shape[-1], images.shape[-2]]), np.array([shape[1], shape[0]])
        theta = np.zeros((len(images), 2, 3))
        theta[:, :, :2] = matrix * (out[None, :] / size[:, None])
        centre_in, centre_out = 2 * (size // 2 + 0.5) / size - 1, 2 * (out // 2 + 0.5) / out - 1
        theta[:, :, 2] = (
            centre_in - np.einsum("nij,j->ni", theta[:, :, :2], centre_out) + 2 * offset_px / size
        )
        grid = functional.affine_grid(
            torch.from_numpy(theta).to(images), [len(images), 1, *shape], align_corners=False
        )
        sampled = functional.grid_sample(images[:, None], grid, mode="bicubic", align_corners=False)
        return sampled[:, 0]

    def foretell(self, aligned: torch.Tensor, share: Array, views: NDArray[np.int64]) -> torch.Tensor:
        """Projections ``(len(views), row, column)`` of the volume, each less that image's own part.

        share : (view,), weight of each image in the volume. views : which ones to project, by their place.
        """
        n_rows, n_u = int(aligned.shape[1]), int(aligned.shape[2])
        parts = np.flatnonzero(share > 0)
        filtered = self._filtered(aligned[parts], self.tilt_rad[parts]).cpu()
        columns, rays = self._lines(n_u)
        foretold = torch.empty((len(views), n_rows, n_u), dtype=torch.float32)
        volume = torch.empty((self.n_z, STRIP_ROWS, n_u), dtype=torch.float32)
        for row in range(0, n_rows, STRIP_ROWS):
            strip = filtered[:, row : row + STRIP_ROWS].transpose(1, 2).contiguous()
            strip[:, [0, -1]] = 0
            back_project(strip, torch.from_numpy(columns[parts]), volume)
            sums = np.empty((len(views), n_u, STRIP_ROWS), np.float32)
            forward_project(self._slab(volume, row), rays[views], sums)
            for place, view in enumerate(views):
                for k in np.flatnonzero(parts == view):
                    back_project(strip[k : k + 1], torch.from_numpy(columns[[view]]), volume)
                    own = np.empty((1, n_u, STRIP_ROWS), np.float32)
                    forward_project(self._slab(volume, row), rays[[view]], own)
                    sums[place] -= own[0]
            foretold[:, row : row + STRIP_ROWS] = torch.from_numpy(sums).transpose(1, 2)
        return foretold.to(aligned.device)

    def _slab(self, volume: torch.Tensor, first_row: int) -> NDArray[np.float32]:
        """Strip as ``(z, x, row)``, faded out along z about the specimen's middle.

        A sharp edge would foretell detail with the wrong sign: its transform swings below zero.
        """
        n_z, n_rows, n_x = (int(n) for n in volume.shape)
        offset, per_x, per_y = self.plane
        row = first_row + n_rows / 2 - self.shape[0] // 2
        middle = offset / self.pixel_size_angstrom + per_x * (np.arange(n_x) - n_x // 2) + per_y * row
        height = np.arange(n_z)[:, None] - n_z // 2 - middle[None, :]
        reach = HALF_DEPTH_ANGSTROM / self.pixel_size_angstrom
        window = np.where(np.abs(height) < reach, 0.5 + 0.5 * np.cos(np.pi * height / reach), 0.0)
        return np.ascontiguousarray(volume.numpy().transpose(0, 2, 1)) * window.astype(np.float32)[:, :, None]

    def _lines(self, n_u: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Columns of voxels and rays of columns, as the two kernels take them, ``(view, 3)`` each."""
        cos, sin = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        middle, layer = n_u // 2, self.n_z // 2
        columns = np.stack([middle - cos * middle - sin * layer, cos, sin], axis=1)
        # u = middle + (x - middle) cos + (z - layer) sin, solved for x.
        rays = np.stack([middle - middle / cos + sin / cos * layer, 1 / cos, -sin / cos], axis=1)
        return columns.astype(np.float32), rays.astype(np.float32)

    def _filtered(self, aligned: torch.Tensor, tilt_rad: Array) -> torch.Tensor:
        """Rows filtered so that back-projection weighs all directions alike, as far as neighbours overlap."""
        n_u = aligned.shape[2]
        n_padded = good_fft_size(2 * n_u)
        thickness = SPECIMEN_ANGSTROM / self.pixel_size_angstrom
        weights = torch.from_numpy(exact_weights(np.rad2deg(tilt_rad), n_padded, thickness)).to(aligned)
        spectra = torch.fft.rfft(functional.pad(aligned, (0, n_padded - n_u)))
        return torch.fft.irfft(spectra * weights[:, None], n=n_padded)[..., :n_u].contiguous()
