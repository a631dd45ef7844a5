"""Variables of the views: the unknowns of a bundle adjustment besides points.

Axis, tilt, x-tilt, magnification, beam tilt and a deformation of the specimen, each fixed, one for the
series, grouped (interpolated between nodes a few views apart) or per view, as in IMOD's tiltalign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.geometry.projection_derivatives import angle_derivatives, derivative_by_axis

__all__ = [
    "N_VIEW_PARAMETERS",
    "DegreesOfFreedom",
    "Variation",
    "ViewVariables",
    "geometry_of",
    "jacobians",
    "parameters_of",
]

Array = NDArray[np.float64]
Variation = Literal["fixed", "one", "grouped", "per_view"]

N_VIEW_PARAMETERS = 9  # shift x, shift y, axis, tilt, x-tilt, log magnification, stretch, skew, beam tilt
# Expected deviation of a variable from its start (shifts and the mean axis are free): radian, or fractions.
PRIOR_DEVIATIONS = {
    "axis": np.deg2rad(2.0),
    "tilt": np.deg2rad(1.5),
    "x_tilt": np.deg2rad(5.0),
    "magnification": 0.02,
    "stretch": 0.02,
    "skew": 0.02,
    "beam_tilt": np.deg2rad(1.0),
}


@dataclass(frozen=True, slots=True)
class DegreesOfFreedom:
    """What may vary besides points and shifts."""

    axis: Variation = "one"
    tilt: Variation = "fixed"
    x_tilt: Variation = "fixed"
    magnification: Variation = "fixed"
    stretch: Variation = "fixed"
    skew: Variation = "fixed"
    beam_tilt: Variation = "fixed"
    group_size: int = 5

    @property
    def only_shifts_per_view(self) -> bool:
        """Whether nothing but its shift belongs to a view alone: two points then place it with a check."""
        others = (self.axis, self.tilt, self.x_tilt, self.magnification, self.stretch, self.skew)
        return "per_view" not in others

    @property
    def of_first_rounds(self) -> DegreesOfFreedom:
        """What varies while tracks are still being located: shifts, and one axis unless it is fixed."""
        return DegreesOfFreedom(axis="fixed" if self.axis == "fixed" else "one")


@dataclass(frozen=True, slots=True)
class ViewVariables:
    """Linear map from the unknowns to the parameters of all views, and the unknowns' prior information.

    ``parameter[k]`` of every view is ``values[k] @ unknowns``; each parameter has its own unknowns.
    """

    parameter: tuple[int, ...]
    values: tuple[Array, ...]  # (n_views, n_unknowns of this parameter)
    inverses: tuple[Array, ...]
    prior_information: Array  # (n_unknowns,), 1 / deviation^2; 0 is free
    start: Array  # (n_views, N_VIEW_PARAMETERS), what priors pull towards

    @classmethod
    def of(cls, free: DegreesOfFreedom, start: SeriesGeometry) -> ViewVariables:
        """Unknowns that a choice of degrees of freedom allows."""
        n_views = start.n_views
        parameters, values = [0, 1], [np.eye(n_views), np.eye(n_views)]
        information = [np.zeros(2 * n_views)]
        for parameter, name in enumerate(PRIOR_DEVIATIONS, start=2):
            variation: Variation = getattr(free, name)
            if variation == "fixed":
                continue
            blocks = []
            if name == "axis" or variation == "one":
                blocks.append(np.ones((n_views, 1)))
                information.append(np.zeros(1))
            if variation in ("grouped", "per_view"):
                step = free.group_size if variation == "grouped" else 1
                blocks.append(_hat_functions(n_views, step))
                information.append(np.full(blocks[-1].shape[1], PRIOR_DEVIATIONS[name] ** -2.0))
            parameters.append(parameter)
            values.append(np.concatenate(blocks, axis=1))
        inverses = tuple(np.asarray(np.linalg.pinv(v), dtype=np.float64) for v in values)
        return cls(
            tuple(parameters), tuple(values), inverses, np.concatenate(information), parameters_of(start)
        )

    def unknowns_from(self, view_values: Array) -> Array:
        """Least-squares unknowns of parameters ``(n_views, N_VIEW_PARAMETERS)``."""
        pairs = zip(self.inverses, self.parameter, strict=True)
        return np.concatenate([inverse @ view_values[:, parameter] for inverse, parameter in pairs])

    def gather(self, by_view: Array) -> Array:
        """Derivatives by unknowns ``(n_unknowns, ...)`` from those by parameters ``(n_views, 9, ...)``."""
        pairs = zip(self.values, self.parameter, strict=True)
        return np.concatenate([np.tensordot(v.T, by_view[:, parameter], 1) for v, parameter in pairs])

    def spread(self, unknowns: Array) -> Array:
        """Parameters ``(n_views, N_VIEW_PARAMETERS)`` of unknowns."""
        result, first = np.zeros_like(self.start), 0
        for values, parameter in zip(self.values, self.parameter, strict=True):
            result[:, parameter] = values @ unknowns[first : first + values.shape[1]]
            first += values.shape[1]
        return result

    def normal(self, blocks: Array) -> Array:
        """Normal matrix of the unknowns from the views' blocks ``(n_views, 9, 9)``."""
        rows = [
            np.concatenate(
                [(v.T * blocks[:, p, q]) @ w for w, q in zip(self.values, self.parameter, strict=True)],
                axis=1,
            )
            for v, p in zip(self.values, self.parameter, strict=True)
        ]
        return np.concatenate(rows)


def _hat_functions(n: int, step: int) -> Array:
    """Piecewise linear interpolation from nodes about ``step`` views apart, ``(n, n_nodes)``."""
    if step <= 1 or n <= 2:
        return np.eye(n)
    nodes = np.linspace(0, n - 1, max(2, round((n - 1) / step) + 1))
    return np.stack([np.interp(np.arange(n), nodes, row) for row in np.eye(len(nodes))], axis=1)


def parameters_of(geometry: SeriesGeometry) -> Array:
    """All views' parameters ``(n_views, N_VIEW_PARAMETERS)``: angstrom, radian, log magnification."""
    return np.column_stack(
        [
            geometry.shift_xy_angstrom,
            np.deg2rad(geometry.axis_deg),
            np.deg2rad(geometry.tilt_deg),
            np.deg2rad(geometry.x_tilt_deg),
            np.log(geometry.magnification),
            geometry.stretch,
            geometry.skew,
            np.deg2rad(geometry.beam_tilt_deg),
        ]
    )


def geometry_of(parameters: Array) -> SeriesGeometry:
    """Inverse of `parameters_of`."""
    return SeriesGeometry(
        axis_deg=np.rad2deg(parameters[:, 2]),
        tilt_deg=np.rad2deg(parameters[:, 3]),
        shift_xy_angstrom=parameters[:, :2].copy(),
        x_tilt_deg=np.rad2deg(parameters[:, 4]),
        magnification=np.exp(parameters[:, 5]),
        stretch=parameters[:, 6].copy(),
        skew=parameters[:, 7].copy(),
        beam_tilt_deg=np.rad2deg(parameters[:, 8]),
    )


def jacobians(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> tuple[Array, Array]:
    """Derivatives of predicted positions by view parameters ``(n, 2, 9)`` and by the point ``(n, 2, 3)``."""
    view, r = tracks.view, np.nan_to_num(points[tracks.point])
    matrices = geometry.matrices[view]
    magnification = geometry.magnification[view][:, None]
    deformed_x = (1 + geometry.stretch[view]) * r[:, 0] + geometry.skew[view] * r[:, 1]
    by_angles = angle_derivatives(
        np.column_stack([deformed_x, r[:, 1:]]),
        geometry.axis_deg[view],
        geometry.tilt_deg[view],
        geometry.x_tilt_deg[view],
        geometry.beam_tilt_deg[view],
    )
    seen = np.einsum("nai,ni->na", matrices[:, :2], r)
    by_view = np.zeros((len(view), 2, N_VIEW_PARAMETERS))
    by_view[:, 0, 0] = by_view[:, 1, 1] = 1.0
    by_view[:, :, 2] = derivative_by_axis(seen)
    by_view[:, :, 3] = magnification * by_angles.by_tilt
    by_view[:, :, 4] = magnification * by_angles.by_x_tilt
    by_view[:, :, 5] = seen
    along_x = matrices[:, :2, 0] / (1 + geometry.stretch[view])[:, None]
    by_view[:, :, 6] = along_x * r[:, :1]
    by_view[:, :, 7] = along_x * r[:, 1:2]
    by_view[:, :, 8] = magnification * by_angles.by_beam_tilt
    return by_view, matrices[:, :2]
