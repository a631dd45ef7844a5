"""Reprojections: each image predicted from the other images of a series.

The images are rotated so that the tilt axis is y and the specimen flat, filtered and back-projected into a
thin slab; its projection along each beam, minus the contribution of that image, is the prediction (Winkler &
Taylor, Ultramicroscopy 106, 2006; AreTomo: Zheng et al., J. Struct. Biol. X 6, 2022). Unlike a compressed
neighbour it includes the specimen's depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.radial_filter import exact_weights
from cryoloom.algorithms.images.sample_images import sample_affine
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, edge_taper
from cryoloom.geometry.tilt_axis import (
    across_axis,
    along_axis,
    column_slopes,
    field_across_and_along,
    slopes_of_slab,
)
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.kernels.projection.forward_project import forward_project, own_taps
from cryoloom.kernels.projection.project import add_back_projection
from cryoloom.kernels.rows.transpose_rows import transpose_rows

__all__ = ["SPECIMEN_ANGSTROM", "Plane", "Reprojector", "reprojections"]

Array = NDArray[np.float64]
Plane = tuple[float, float, float]

#: Chosen: height of the slab on either side of the plane, for specimens of up to 1800 A; it fades as a
#: cosine.
HALF_DEPTH_ANGSTROM = 900.0
#: Chosen: thickness that determines how far neighbouring tilts overlap in Fourier space.
SPECIMEN_ANGSTROM = 1500.0
LAYER_PX = 2.0  # only detail of four pixels is compared, which needs no more layers


def reprojections(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane = (0.0, 0.0, 0.0),
    *,
    only: NDArray[np.bool_] | None = None,
) -> torch.Tensor:
    """Reprojection of each image from the others, ``(n, y, x)`` in the image's own frame; 0 where not usable.

    plane : middle of the specimen as ``z = a + b x + c y``, (a in angstrom, b, c); it is assumed to be about
    `SPECIMEN_ANGSTROM` thick. only : views to predict, of the usable ones.
    """
    reprojector = Reprojector.of(tilt_images, geometry, usable, plane)
    parts = np.arange(len(reprojector.views))
    chosen = parts if only is None else np.flatnonzero(only[reprojector.views])
    reprojected = reprojector.predict(reprojector.aligned(tilt_images.images), parts, chosen)
    result = torch.zeros_like(tilt_images.images)
    result[torch.from_numpy(reprojector.views[chosen])] = reprojector.turned_back(reprojected, chosen)
    return result


@dataclass(frozen=True, slots=True)
class Reprojector:
    """Images rotated so that the axis is y: (row along the axis, column across), and a slab in the specimen.

    The slab's x lies in the plane of the specimen and its z across: with p the plane's angle about y, a view
    of tilt t projects it at t - p. The plane's position, and its slope along y, only move and shear the
    images. tilt_rad : (view,) as the slab has them. to_image : (view, 2, 2), image xy of (column, row), and
    shift_px (view, 2) of the slab's centre.
    """

    views: NDArray[np.int64]
    tilt_rad: Array
    to_image: Array
    shift_px: Array
    image_shape_yx: tuple[int, int]
    shape: tuple[int, int]
    n_z: int
    pixel_size_angstrom: float

    @classmethod
    def of(
        cls,
        tilt_images: TiltImages,
        geometry: SeriesGeometry,
        usable: NDArray[np.bool_],
        plane: Plane = (0.0, 0.0, 0.0),
        *,
        half_depth_angstrom: float = HALF_DEPTH_ANGSTROM,
    ) -> Reprojector:
        """For the usable views of a series about a plane ``z = a + b x + c y``."""
        views = np.flatnonzero(usable)
        pixel = tilt_images.pixel_size_angstrom
        n_y, n_x = tilt_images.shape_yx
        columns, rows = field_across_and_along(geometry.mean_axis_deg, n_x, n_y)
        tilt = np.deg2rad(geometry.tilt_deg[views])
        across, along = across_axis(geometry.axis_deg[views]), along_axis(geometry.axis_deg[views])
        # A point at height h above the plane z = b x projects h sin(t) further across the axis.
        lift = across * column_slopes(geometry.tilt_deg[views])[1][:, None]
        return cls(
            views,
            tilt - np.arctan(plane[1]),
            np.stack([across, along + plane[2] * lift], axis=-1),
            geometry.shift_xy_angstrom[views] / pixel + plane[0] / pixel * lift,
            (n_y, n_x),
            (STRIP_ROWS * int(np.ceil(rows / STRIP_ROWS)), 2 * int(np.ceil(columns / 2))),
            2 * round(half_depth_angstrom / pixel / LAYER_PX) + 1,
            pixel,
        )

    def aligned(self, images: torch.Tensor) -> torch.Tensor:
        """``(view, row, column)``: soft-edged, turned, sheared and shifted; 0 outside."""
        taper = edge_taper(self.image_shape_yx, 0.06, images.device)
        tapered = images[torch.from_numpy(self.views)] * taper
        return sample_affine(tapered, self.to_image, self.shift_px, self.shape, mode="bicubic")

    def turned_back(self, aligned: torch.Tensor, views: NDArray[np.int64]) -> torch.Tensor:
        """Inverse of `aligned` for those views: ``(len(views), y, x)`` in the images' own frames."""
        matrix = np.asarray(np.linalg.inv(self.to_image[views]), dtype=np.float64)
        offset = -np.einsum("nij,nj->ni", matrix, self.shift_px[views])
        return sample_affine(aligned, matrix, offset, self.image_shape_yx, mode="bicubic")

    def predict(
        self, aligned: torch.Tensor, parts: NDArray[np.int64], views: NDArray[np.int64]
    ) -> torch.Tensor:
        """Projections ``(len(views), row, column)`` of the slab, each minus that image's own contribution.

        parts : images that make the slab, by their place in ``self.views``. views : views to project.
        """
        n_rows, n_u = self.shape
        device = aligned.device
        filtered = self._filtered(aligned[torch.from_numpy(parts)], self.tilt_rad[parts])
        columns, rays = (torch.from_numpy(lines).to(device) for lines in self.lines())
        scale = torch.from_numpy(self._scale()).to(device)
        taps = own_taps(scale, rays[views], columns[views], n_u)
        own = [(place, int(k)) for place, view in enumerate(views) for k in np.flatnonzero(parts == view)]
        reprojected = torch.empty((len(views), n_rows, n_u), device=device)
        slab = torch.empty((self.n_z, n_u, STRIP_ROWS), device=device)
        strip = torch.empty((len(parts), n_u + 2, STRIP_ROWS), device=device)
        sums = torch.empty((len(views), n_u, STRIP_ROWS), device=device)
        for row in range(0, n_rows, STRIP_ROWS):
            transpose_rows(filtered[:, row : row + STRIP_ROWS], 0, strip)
            slab.zero_()
            add_back_projection(strip, columns[parts], scale, slab)
            forward_project(slab, rays[views], sums)
            for place, k in own:
                for tap in range(3):
                    sums[place] -= taps[place, :, tap, None] * strip[k, tap : tap + n_u]
            reprojected[:, row : row + STRIP_ROWS] = sums.transpose(1, 2)
        return reprojected

    def _scale(self) -> NDArray[np.float32]:
        """Weights of the slab's voxels ``(z, x)``, faded out along z.

        A sharp edge would predict detail with the wrong sign: its transform becomes negative.
        """
        height = (np.arange(self.n_z) - self.n_z // 2) * LAYER_PX * self.pixel_size_angstrom
        window = np.cos(np.pi * np.clip(height / HALF_DEPTH_ANGSTROM, -1, 1) / 2) ** 2
        scale = np.tile(window[:, None], (1, self.shape[1])).astype(np.float32)
        scale[:, [0, -1]] = 0
        return scale

    def lines(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Columns of voxels in strips, and rays of columns, as the kernels take them, ``(view, 3)`` each."""
        per_x, per_z = slopes_of_slab(self.tilt_rad)
        per_z = LAYER_PX * per_z
        middle, layer = self.shape[1] // 2, self.n_z // 2
        start = middle - per_x * middle - per_z * layer
        # u = start + x per_x + z per_z, solved for x. Strips begin with a column of zeros.
        columns = np.stack([start + 1, per_x, per_z], axis=1)
        rays = np.stack([-start / per_x, 1 / per_x, -per_z / per_x], axis=1)
        return columns.astype(np.float32), rays.astype(np.float32)

    def _filtered(self, aligned: torch.Tensor, tilt_rad: Array) -> torch.Tensor:
        """Rows filtered so that back-projection weights all directions equally where neighbours overlap."""
        n_u = aligned.shape[2]
        thickness = SPECIMEN_ANGSTROM / self.pixel_size_angstrom
        n_padded = good_fft_size(n_u + round(thickness / 2))
        weights = torch.from_numpy(exact_weights(np.rad2deg(tilt_rad), n_padded, thickness)).to(aligned)
        spectra = torch.fft.rfft(functional.pad(aligned, (0, n_padded - n_u)))
        return torch.fft.irfft(spectra * weights[:, None], n=n_padded)[..., :n_u].contiguous()
