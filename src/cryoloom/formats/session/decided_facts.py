"""Pixel size, voltage and frames of a series: the value of every source, and the one that is used."""

from __future__ import annotations

from collections.abc import Sequence

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.mdoc import Mdoc
from cryoloom.model import Movie
from cryoloom.model.evidence import Evidence, Source
from cryoloom.model.limits import plausible

__all__ = ["movie_pixel_size", "number_of_frames", "stack_pixel_size", "voltage"]

_UNKNOWN_SIZE_ANGSTROM = 1.0
"""Values that programs write if they do not know the pixel size."""
_TOLERANCE = 0.02
"""Headers and mdocs round to a hundredth of an angstrom; calibrations differ by more."""
_DEFAULT_KV = 300.0
"""Voltage of most microscopes for tomography; the note mentions it."""
_USUAL_ANGSTROM = (0.2, 60.0)
"""Pixels of tomography, from super-resolution at the highest magnification to maps binned by 16."""
_NOT_WHOLE = 0.1
"""Chosen: a binned side is rounded to whole pixels, which changes the ratio by less."""


def movie_pixel_size(
    movie: Movie, header_angstrom: float | None, mdocs: Sequence[Mdoc], user_angstrom: float | None
) -> tuple[float, Evidence]:
    """Pixel size of the grid movies are read on, in angstrom.

    The user's counts first (of EER the camera's own 4K grid), then the mdoc's, then the movie's header. An
    mdoc gives the size of its stack's pixels: where that was binned, the shapes say by how much. Raises
    DataUnfitError where nothing gives a size, or where mdoc and shapes leave it open.
    """
    mdoc, header = _mdoc_size(mdocs), _known(header_angstrom)
    sources = []
    if user_angstrom is not None:
        sources.append(Source("user", user_angstrom))
    sources += [_size_source("mdoc PixelSpacing", size) for size in sorted(_all_sizes(mdocs))]
    if header_angstrom:
        sources.append(_size_source("movie header", header_angstrom))
    if user_angstrom is not None:
        return user_angstrom / movie.eer_sampling, _size_evidence(user_angstrom, "user", sources, "")
    if mdoc is None and header is None:
        raise DataUnfitError("no pixel size is given; give pixel_size_angstrom")
    if mdoc is None:
        return header or 0.0, _size_evidence(header or 0.0, "movie header", sources, "")
    size, note = _unbinned(mdoc, mdocs[0].image_shape_yx if mdocs else None, movie), ""
    known = [one for one in _all_sizes(mdocs) if _known(one) is not None]
    if max(known) / min(known) - 1 > _TOLERANCE:
        note = f"the mdoc gives pixels of {min(known):g} to {max(known):g} A; the first, {mdoc:g} A, is used"
    if header is not None and abs(header / size - 1) > _TOLERANCE:
        note = (
            f"the mdoc gives {size:.4g} A for the movies' pixels, their header {header:.4g} A; the mdoc is "
            "used, since cameras often write a nominal size"
        )
    return size, _size_evidence(size, "mdoc PixelSpacing", sources, note)


def stack_pixel_size(
    header_angstrom: float,
    shape_yx: tuple[int, int],
    mdoc: Mdoc | None,
    user_angstrom: float | None,
    name: str,
) -> tuple[float, Evidence]:
    """Pixel size of a stack, in angstrom: the user's, else its header's, else the mdoc's.

    The header belongs to these pixels, whatever was binned; 1 and 0 in it mean that it was not known. The
    mdoc's is scaled from the shape of its images to that of the stack.
    """
    header = _known(header_angstrom)
    of_mdoc = None
    sources = [] if user_angstrom is None else [Source("user", user_angstrom)]
    sources.append(_size_source("stack header", header_angstrom))
    mdoc_angstrom = _mdoc_size([mdoc] if mdoc else [])
    if mdoc_angstrom is not None and mdoc is not None:
        shape = mdoc.image_shape_yx
        # An mdoc may be of the images before they were binned.
        of_mdoc = mdoc_angstrom if shape is None else mdoc_angstrom * max(shape) / max(shape_yx)
        sources.append(Source("mdoc PixelSpacing", mdoc_angstrom))
    if user_angstrom is not None:
        return user_angstrom, _size_evidence(user_angstrom, "user", sources, "")
    if header is None and of_mdoc is None:
        raise DataUnfitError(
            f"the header of {name} gives no pixel size and neither does an mdoc; give pixel_size_angstrom",
            got_angstrom=header_angstrom,
        )
    if header is None:
        return of_mdoc or 0.0, _size_evidence(of_mdoc or 0.0, "mdoc PixelSpacing", sources, "")
    note = ""
    if of_mdoc is not None and abs(header / of_mdoc - 1) > _TOLERANCE:
        note = (
            f"the header of {name} gives pixels of {header:.4g} A, the mdoc {of_mdoc:.4g} A for images of "
            "this size; the header is used, since it is written with these pixels"
        )
    return header, _size_evidence(header, "stack header", sources, note)


def voltage(mdoc: Mdoc | None, user_kv: float | None) -> tuple[float, Evidence]:
    """Acceleration voltage in kV: the user's, else the mdoc's, else 300."""
    mdoc_kv = mdoc.voltage_kv if mdoc else None
    sources = [] if user_kv is None else [Source("user", user_kv)]
    sources += [] if mdoc_kv is None else [Source("mdoc Voltage", mdoc_kv)]
    if user_kv is not None:
        return user_kv, Evidence("voltage, kV", user_kv, "user", tuple(sources))
    if mdoc_kv is not None:
        return mdoc_kv, Evidence("voltage, kV", mdoc_kv, "mdoc Voltage", tuple(sources))
    note = "no voltage is given; taken to be 300 kV"
    return _DEFAULT_KV, Evidence("voltage, kV", _DEFAULT_KV, "", tuple(sources), note)


def number_of_frames(movies: Sequence[Movie], in_mdoc: Sequence[int | None]) -> Evidence:
    """Frames of the movies according to their files and to the mdoc; the files decide.

    EER is left out of the comparison: acquisition programs write 1 for it.
    """
    own = [movie.n_frames for movie in movies]
    said = [n for n in in_mdoc if n is not None]
    sources = [Source("movie files", _span(own))]
    note = ""
    if said:
        sources.append(Source("mdoc NumSubFrames", _span(said)))
        differ = [
            (movie, n)
            for movie, n in zip(movies, in_mdoc, strict=True)
            if n is not None and n != movie.n_frames and movie.path.suffix.lower() != ".eer"
        ]
        if differ:
            movie, n = differ[0]
            note = (
                f"{len(differ)} movies have another number of frames than the mdoc gives ({movie.path.name}: "
                f"{movie.n_frames} frames, expected {n}); the files are used. A movie may be cut short"
            )
    return Evidence("number of frames", _span(own), "movie files", tuple(sources), note)


def _mdoc_size(mdocs: Sequence[Mdoc]) -> float | None:
    return next((size for mdoc in mdocs if (size := mdoc.pixel_size_angstrom) is not None), None)


def _all_sizes(mdocs: Sequence[Mdoc]) -> set[float]:
    return {size for mdoc in mdocs for size in mdoc.pixel_sizes_angstrom}


def _known(size_angstrom: float | None) -> float | None:
    size = plausible("pixel size", size_angstrom)
    return None if size is None or abs(size - _UNKNOWN_SIZE_ANGSTROM) < 1e-6 else size


def _size_source(name: str, size_angstrom: float) -> Source:
    why_not = "" if _known(size_angstrom) is not None else "what programs write that do not know it"
    return Source(name, float(size_angstrom), why_not)


def _size_evidence(size_angstrom: float, used: str, sources: Sequence[Source], note: str) -> Evidence:
    low, high = _USUAL_ANGSTROM
    if not low <= size_angstrom <= high:
        unusual = (
            f"a pixel size of {size_angstrom:g} A is unusual, expected {low:g} to {high:g}; if it is in "
            "another unit, give pixel_size_angstrom"
        )
        note = "; ".join(part for part in (note, unusual) if part)
    return Evidence("pixel size, angstrom", round(size_angstrom, 5), used, tuple(sources), note)


def _unbinned(mdoc_angstrom: float, stack_yx: tuple[int, int] | None, movie: Movie) -> float:
    """Size of a movie's pixels from that of the mdoc's stack: by the nearest whole ratio of their shapes."""
    if stack_yx is None:
        return mdoc_angstrom / movie.eer_sampling
    ratio = max(movie.shape_yx) / max(stack_yx)
    binned = ratio >= 1
    whole = round(ratio if binned else 1 / ratio)
    if abs((ratio if binned else 1 / ratio) - whole) > _NOT_WHOLE:
        raise DataUnfitError(
            "the mdoc's stack is not a whole binning of the movies; give pixel_size_angstrom",
            stack_yx=stack_yx,
            movie_yx=movie.shape_yx,
        )
    return mdoc_angstrom / whole if binned else mdoc_angstrom * whole


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
