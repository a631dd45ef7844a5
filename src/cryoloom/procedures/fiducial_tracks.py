"""Fiducials that another program tracked, as tracks of a series that the bundle adjustment can solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.alignment_methods import Alignment
from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_matching import evidence_of_tilts
from cryoloom.algorithms.series.view_matching import ViewEvidence, match_views
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.imod.tracks import find_fiducial_model, read_fiducial_model
from cryoloom.model import TiltSeries

__all__ = ["align_by_fiducials", "read_tracks"]

LEAST_FIDUCIALS = 4
LEAST_VIEWS_OF_A_TRACK = 3
"""Chosen: three tilts give six numbers for the three coordinates of a point.

Four points give eight for a pose.
"""


def read_tracks(series: TiltSeries, folder: Path, usable: NDArray[np.bool_], *, prealigned: bool) -> Tracks:
    """Tracks of NAME.fid in the tilts used.

    Its views are matched to tilts by section and angle, or refused.
    """
    if not folder.is_dir():
        raise UserInputError(f"{folder} is not a folder; correct the parameter fiducials of align_series")
    stack = series.best_stack
    path = find_fiducial_model(folder, series.name)
    found = read_fiducial_model(path, stack.shape_yx, stack.pixel_size_angstrom, prealigned=prealigned)
    n_views = len(found.nominal_tilt_deg)
    views = ViewEvidence(found.nominal_tilt_deg, np.full(n_views, np.nan), np.arange(n_views))
    tilt_of_view = match_views(evidence_of_tilts(series), views, stack.images.shape[0])
    tracks = Tracks(
        tilt_of_view[found.view],
        found.track,
        found.position_xy_angstrom,
        np.ones(len(found.track)),
        len(series.tilts),
        found.n_tracks,
    )
    kept = tracks.select(usable[tracks.view])
    often = np.bincount(kept.point, minlength=kept.n_points) >= LEAST_VIEWS_OF_A_TRACK
    kept = kept.select(often[kept.point])
    if often.sum() < LEAST_FIDUCIALS:
        raise DataUnfitError(
            f"only {int(often.sum())} fiducials are visible in {LEAST_VIEWS_OF_A_TRACK} or more of the "
            f"tilts used, expected at least {LEAST_FIDUCIALS}; track more of them"
        )
    return kept


def align_by_fiducials(tracks: Tracks, start: SeriesGeometry, free: DegreesOfFreedom) -> Alignment:
    """Bundle adjustment of given tracks, first without robust weights: shifts then need no start values."""
    first = adjust_bundle(tracks, start, free, robust=False)
    solution = adjust_bundle(tracks, first.geometry, free)
    return Alignment.of("fiducials", tracks, solution, free)
