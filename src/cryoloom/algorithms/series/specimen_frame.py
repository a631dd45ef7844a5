"""Change of origin or orientation of the specimen: poses and CTFs are updated.

Where positions become ``r = offset + R r'``, a pose's matrix M becomes M R, whose angles are a pose's again,
and its shift grows by M offset. The defocus of a CTF, at the origin, changes by the new origin's
height.

Thon rings give the defocus of the middle of the specimen, while the origin of poses is that of their program.
`with_defocus_at_origin` is the only place that combines the two: by the plane of the specimen's middle in the
frame of the poses (`Slab`), at its point in the image's centre.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.depth import defocus_change, depth_at_centre, opposite_hand, plane_depth
from cryoloom.geometry.projection import angles_of_projection
from cryoloom.geometry.rotations import rotation_y, tilts_of_normal
from cryoloom.model import Ctf, DefocusReference, Pose, Slab, Sourced, Tilt, TiltSeries

__all__ = [
    "handedness_in",
    "height_of_slab",
    "pose_from_frame",
    "series_from_frame",
    "series_in_slab",
    "series_moved",
    "with_defocus_at_origin",
    "with_defocus_of_specimen",
    "with_middle_at_origin",
    "with_slab",
]


OPPOSED = 0.5
"""Chosen: axes at least 120 degrees apart are opposite directions of one line."""


def pose_from_frame(pose: Pose, offset_xyz_angstrom: ArrayLike, rotation: ArrayLike | None = None) -> Pose:
    """Pose for positions ``r'`` where ``r = offset + rotation r'`` are the old ones.

    offset_xyz_angstrom : (3,). rotation : (3, 3), none by default.
    """
    offset = np.asarray(offset_xyz_angstrom, dtype=np.float64)
    matrix = pose.matrix
    x, y = np.array(pose.shift_xy_angstrom) + pose.magnification * (matrix @ offset)[:2]
    moved = replace(pose, shift_xy_angstrom=(float(x), float(y)))
    if rotation is None:
        return moved
    axis, tilt, x_tilt = angles_of_projection(matrix @ np.asarray(rotation, dtype=np.float64))
    return replace(moved, axis_deg=float(axis), tilt_deg=float(tilt), x_tilt_deg=float(x_tilt))


def series_from_frame(
    series: TiltSeries, offset_xyz_angstrom: ArrayLike, rotation: ArrayLike | None = None
) -> TiltSeries:
    """Series for positions ``r'`` where ``r = offset + rotation r'``; arguments as in `pose_from_frame`.

    Without a known handedness the defocus is unchanged, because the sign of its change is not known. A
    defocus of the specimen's middle is unchanged too: it does not depend on the origin.
    """
    offset = np.asarray(offset_xyz_angstrom, dtype=np.float64)
    changes: dict[int, dict[str, Any]] = {}
    for tilt in series.tilts:
        if tilt.pose is not None:
            changes[tilt.acquisition_index] = {
                "pose": pose_from_frame(tilt.pose, offset, rotation),
                "ctf": _ctf_at(tilt, offset, series.handedness.applied),
            }
    return series.with_tilts(changes)


def series_in_slab(series: TiltSeries) -> TiltSeries:
    """Series with its measured slab lying flat about z = 0; unchanged if it does already or none is known."""
    slab = series.slab
    if slab is None or slab.is_applied:
        return series
    turned = series_from_frame(series, slab.offset_xyz_angstrom, slab.rotation)
    applied = {
        name: replace(value, applied=value.measured)
        for name in ("thickness_angstrom", "z_offset_angstrom", "tilt_x_deg", "tilt_y_deg")
        if (value := getattr(slab, name)) is not None
    }
    return replace(turned, slab=replace(slab, **applied))


def series_moved(series: TiltSeries, z_shift_angstrom: float, tilt_offset_deg: float) -> TiltSeries:
    """Series whose tomogram shows everything so much higher, then turned by an offset of all its tilts.

    The slab follows. IMOD's SHIFT (z, which it counts downwards in our tomograms) and OFFSET.
    """
    if not (z_shift_angstrom or tilt_offset_deg):
        return series
    offset = np.array([0.0, 0.0, -z_shift_angstrom])
    # Ry(tilt) Ry(offset) = Ry(tilt + offset): exactly the added angle where there is no x-tilt.
    turn = rotation_y(tilt_offset_deg)
    moved = series_from_frame(series, offset, turn)
    slab = series.slab
    if slab is None:
        return moved
    normal = turn.T @ slab.rotation[:, 2]
    middle = turn.T @ (slab.offset_xyz_angstrom - offset)
    z_offset = replace(slab.z_offset_angstrom, measured=float(normal @ middle / normal[2]), applied=None)
    slab = replace(slab, z_offset_angstrom=z_offset)
    if slab.tilt_y_deg.measured is not None:
        tilt_x, tilt_y = tilts_of_normal(normal)
        slab = replace(
            slab,
            tilt_y_deg=replace(slab.tilt_y_deg, measured=tilt_y, applied=None),
            tilt_x_deg=replace(slab.tilt_x_deg, measured=tilt_x, applied=None),
        )
    return replace(moved, slab=slab)


def height_of_slab(slab: Slab, length_angstrom: float, width_angstrom: float) -> float:
    """Height of a volume about the origin that holds the slab over its field (along y, along x), angstrom."""
    middle, slope_x, slope_y = slab.plane
    half = 0.5 * (slab.thickness_angstrom.measured or 0.0) * float(np.sqrt(1 + slope_x**2 + slope_y**2))
    reach = 0.5 * (abs(slope_x) * width_angstrom + abs(slope_y) * length_angstrom)
    return 2 * (abs(middle) + reach + half)


def with_middle_at_origin(series: TiltSeries) -> TiltSeries:
    """Series whose origin is moved along z to the middle of its measured slab, without rotation."""
    slab = series.slab
    if slab is None or not slab.offset_xyz_angstrom.any():
        return series
    moved = series_from_frame(series, slab.offset_xyz_angstrom)
    z_offset = replace(slab.z_offset_angstrom, applied=slab.z_offset_angstrom.measured)
    return replace(moved, slab=replace(slab, z_offset_angstrom=z_offset))


def with_defocus_at_origin(series: TiltSeries, *, assume_centred: bool = False) -> TiltSeries:
    """Series whose CTFs refer to the origin of its poses, if poses, handedness and slab are known.

    assume_centred : if no slab was measured, assume that its middle passes through the origin; for immediate
    use of the defocus, not for storage.
    """
    return _with_reference(series, "origin", assume_centred=assume_centred)


def with_defocus_of_specimen(series: TiltSeries) -> TiltSeries:
    """Series whose CTFs refer to the specimen's middle at the image's centre, independent of poses.

    A CTF of an origin without a pose is used unchanged; one of poses without a slab stays the origin's.
    """
    known = _with_reference(series, "specimen", assume_centred=False)
    return known.with_tilts(
        {
            tilt.acquisition_index: {"ctf": replace(tilt.ctf, refers_to="specimen")}
            for tilt in known.tilts
            if tilt.ctf is not None and tilt.pose is None
        }
    )


def handedness_in(series: TiltSeries, known: TiltSeries) -> Sourced:
    """Handedness of ``known`` in the geometry of ``series``, another alignment of the same tilts.

    The measured quantity is the defocus gradient of the images. If tilts ascend in the opposite direction of
    the image (the axis turned by 180 degrees, or angles of the other sign), the specimen is mirrored, and the
    same gradient has the other sign.
    """
    mine, theirs = _inclinations(series), _inclinations(known)
    pairs = [(mine[index], theirs[index]) for index in mine.keys() & theirs.keys()]
    if not pairs:
        return known.handedness
    ours, other = (np.array(values) for values in zip(*pairs, strict=True))
    alike = (ours * other).sum() / max(float(np.sqrt((ours**2).sum() * (other**2).sum())), 1e-12)
    if alike > -OPPOSED:
        return known.handedness
    hand = known.handedness
    return replace(
        hand,
        measured=None if hand.measured is None else opposite_hand(hand.measured),
        applied=None if hand.applied is None else opposite_hand(hand.applied),
    )


def _inclinations(series: TiltSeries) -> dict[int, tuple[float, float]]:
    """How fast the depth of a flat specimen grows along x and y of each image, by acquisition index."""
    axis, offset = series.tilt_axis_deg.applied, series.tilt_offset_deg.applied or 0.0
    found = {}
    for tilt in series.tilts:
        pose = tilt.pose
        if pose is None and axis is not None:
            pose = Pose(axis, tilt.nominal_tilt_deg + offset)
        if pose is not None:
            found[tilt.acquisition_index] = plane_depth(pose.matrix)[1:]
    return found


def with_slab(series: TiltSeries, slab: Slab) -> TiltSeries:
    """Series with another slab in the frame of its poses, and the defocus of their origin by it."""
    return with_defocus_at_origin(replace(with_defocus_of_specimen(series), slab=slab))


def _with_reference(series: TiltSeries, reference: DefocusReference, *, assume_centred: bool) -> TiltSeries:
    hand = series.handedness.applied
    if hand is None or (series.slab is None and not assume_centred):
        return series
    changes = {}
    for tilt in series.tilts:
        if tilt.ctf is None or tilt.pose is None or tilt.ctf.refers_to == reference:
            continue
        # The origin's defocus minus that of the plane at the image's centre.
        difference = -float(defocus_change(_depth_at_centre(tilt.pose, series.slab), hand))
        sign = 1.0 if reference == "origin" else -1.0
        ctf = replace(_changed(tilt.ctf, sign * difference), refers_to=reference)
        changes[tilt.acquisition_index] = {"ctf": ctf}
    return series.with_tilts(changes)


def _depth_at_centre(pose: Pose, slab: Slab | None) -> float:
    """Height along the beam, above the origin, of the specimen's middle at the image's centre."""
    plane = (0.0, 0.0, 0.0) if slab is None else slab.plane
    return depth_at_centre(pose.matrix, pose.shift_xy_angstrom, pose.magnification, plane)


def _ctf_at(tilt: Tilt, offset: NDArray[np.float64], handedness: float | None) -> Ctf | None:
    if tilt.ctf is None or tilt.pose is None or handedness is None or tilt.ctf.refers_to != "origin":
        return tilt.ctf
    return _changed(tilt.ctf, float(defocus_change((tilt.pose.matrix @ offset)[2], handedness)))


def _changed(ctf: Ctf, by_angstrom: float) -> Ctf:
    return replace(
        ctf,
        defocus_u_angstrom=ctf.defocus_u_angstrom + by_angstrom,
        defocus_v_angstrom=ctf.defocus_v_angstrom + by_angstrom,
    )
