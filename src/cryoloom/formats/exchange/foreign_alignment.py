"""An alignment another program made, in our conventions, and the evidence which view is which tilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.model import Pose

__all__ = ["ForeignAlignment", "ForeignView", "scaled_pixel_size"]


@dataclass(frozen=True, slots=True)
class ForeignView:
    """One view of a foreign alignment."""

    pose: Pose | None
    """None if the program left the view out."""
    section: int | None = None
    """Section of the raw stack, from 0, if the file contains it."""
    tilt_deg: float | None = None
    """Tilt angle as it was before the program refined it, if the file contains it; else the refined one."""
    dose_start_per_angstrom2: float | None = None
    used: bool = True
    """False if the program excluded the view, whether it has a pose or not."""


@dataclass(frozen=True, slots=True)
class ForeignAlignment:
    """Views in the order of the file."""

    source: Path
    views: tuple[ForeignView, ...]
    n_sections: int | None = None
    """Sections of the raw stack as the program saw it, if the file contains it."""
    zero_based_too: bool = False
    """True if sections may as well be counted from 1 as from 0: they are given as if from 1."""
    left_out: tuple[tuple[int, tuple[float, ...]], ...] = ()
    """Section and possible tilts of images without a view; the views may be counted without them."""
    notes: tuple[str, ...] = ()
    """Notes on parts of the file that cannot be kept."""
    settings: Mapping[str, float | str] = field(default_factory=dict)
    """Other settings of the program: binning, thickness, offsets; pixels are its unbinned ones."""


def scaled_pixel_size(
    source: Path,
    source_shape_yx: tuple[int, int] | None,
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
) -> float:
    """Pixel size of the images from which a file was made; that of our images if the file has no image size.

    Images of another size are taken as our images at another binning: both sides must have the same ratio, to
    a pixel.
    """
    if source_shape_yx is None or source_shape_yx == shape_yx:
        return pixel_size_angstrom
    ratio = max(shape_yx) / source_shape_yx[shape_yx.index(max(shape_yx))]
    misfit = max(abs(its * ratio - n) for its, n in zip(source_shape_yx, shape_yx, strict=True))
    if misfit > max(1.0, ratio):
        raise DataUnfitError(
            f"{source.name} is of images of {source_shape_yx[1]} x {source_shape_yx[0]} pixels, the series "
            f"has {shape_yx[1]} x {shape_yx[0]}: neither the same nor a binning of it; give the files of "
            "this series"
        )
    return pixel_size_angstrom * ratio
