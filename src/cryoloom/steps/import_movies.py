"""Import tilt series from a folder of movies, by their mdoc files or by a pattern of file names.

mdocs of SerialEM and Tomo5 are read, one per series or one per movie. Each quantity (order, tilt, dose, pixel
size, tilt axis, voltage, frames, image size) is decided from all sources that contain it by one rule
(docs/reference/import.md); what every source reports is stored in the record ``import``, and contradictions
are reported. Values of the user take precedence. If a quantity that matters for the tomogram cannot be
decided, the series is refused with what to provide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from cryoloom.contract.acquisition import IMPORT_RECORDS, AcquisitionParams, each_read
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.movie import describe_movie
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.session.decided_facts import movie_pixel_size, number_of_frames, voltage
from cryoloom.formats.session.exposures import (
    Exposure,
    absent_orders,
    accumulated_doses,
    decided_angles,
    in_order_of_acquisition,
    places_in_time,
)
from cryoloom.formats.session.mdoc import Mdoc
from cryoloom.formats.session.mdoc_search import files_near, find_mdocs
from cryoloom.formats.session.movie_folder import MovieFolder
from cryoloom.formats.session.session_folder import FoundSeries, series_of_mdocs, series_of_names
from cryoloom.formats.session.tilt_axis import axis_evidence
from cryoloom.model import GainReference, Movie, Sourced, Tilt, TiltSeries
from cryoloom.model.evidence import Evidence, Source

__all__ = [
    "ImportMoviesParams",
    "import_movies",
    "movie_path",
    "movies_folder",
    "require_references",
    "series_of",
]

_SAME_RATIO = 0.02
"""Chosen, of width to height: binning rounds sizes."""

Describe = Callable[[Path, int], Movie]
"""Opens a movie's header with the requested EER sampling; raises DataUnfitError."""


class ImportMoviesParams(AcquisitionParams):
    """Parameters of the import; values override the metadata."""

    directory: Path = Field(
        Path(), description="Folder with the mdoc files, or with the movies that match pattern."
    )
    mdoc: str = Field(
        "*.mdoc", description="Which mdoc files of the folder, with * and ?; ** for folders below."
    )
    pattern: str | None = Field(
        None,
        description="Import by file names, without mdoc: e.g. {TS}_{TO}_{TA}.tif (series, order, angle).",
    )
    frames_directory: Path | None = Field(
        None, description="Folder of the movies. Unset: that of the mdocs or one below it."
    )
    pixel_size_angstrom: float | None = Field(
        None, gt=0, description="Pixel size of the movies; for EER that of the 4K grid. Unset: the mdoc's."
    )
    dose_per_tilt_per_angstrom2: float | None = Field(
        None, gt=0, description="Dose of each tilt, e/A^2. Unset: the mdoc's."
    )
    gain: Path | None = Field(None, description="Gain reference: MRC, TIFF, EER .gain or DM4.")
    gain_quarter_turns: Literal[0, 1, 2, 3] | None = Field(
        None,
        description="Counter-clockwise quarter turns of the gain to the movies. Unset: found from the data.",
    )
    gain_flip: Literal["none", "upside_down", "left_right"] | None = Field(
        None, description="Flip of the gain after the turns. Unset: found from the data."
    )
    dark: Path | None = Field(
        None,
        description="Dark reference: counts of one frame without a beam, subtracted before the gain is "
        "applied. Counting cameras need none.",
    )
    defects: Path | None = Field(None, description="Defects: text of SerialEM or MotionCor, or a map image.")
    eer_sampling: Literal[1, 2, 4] = Field(
        1, description="EER: 1 reads the 4K grid, 2 the 8K, 4 the 16K grid."
    )
    min_tilts: int = Field(3, ge=2, description="Fewest tilts of a series.")
    leave_out_missing: bool = Field(
        False,
        description="Continue without a tilt whose movie is missing or truncated. Otherwise its series "
        "fails.",
    )


@step(
    "import_movies",
    per="project",
    needs=None,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 100 << 20,
    records=IMPORT_RECORDS,
    source_of=("movies",),
)
def import_movies(params: ImportMoviesParams, context: StepContext) -> Iterator[TiltSeries | DataUnfitError]:
    """Find tilt series in a folder of movies. A series that cannot be read is returned as its error."""
    directory, folder = params.directory.absolute(), movies_folder(params)
    if not directory.is_dir():
        raise UserInputError(f"there is no folder {directory}; correct the directory of import_movies")
    require_references(params)
    found = series_of_names(folder, params.pattern) if params.pattern else _by_mdoc(params, context)
    wanted = [entry for entry in found if params.wants(entry.name)]
    if not wanted:
        names = ", ".join(entry.name for entry in found[:8])
        raise UserInputError(f"no series in {directory} is called {params.series!r}; there are {names}")
    movies = _movie_folder(folder, wanted, params)
    taken: dict[Path, str] = {}

    def read(entry: FoundSeries) -> TiltSeries:
        made = series_of(entry, movies, params, context)
        _require_own_movies(made, entry, taken)
        return made

    yield from each_read(wanted, lambda entry: entry.name, read, context)


def _require_own_movies(series: TiltSeries, entry: FoundSeries, taken: dict[Path, str]) -> None:
    """Note the movies of a series; raises DataUnfitError if all are those of a series before it."""
    paths = [tilt.movie.path for tilt in series.tilts if tilt.movie is not None]
    if paths and all(path in taken for path in paths):
        folder = "/".join(reversed(entry.exposures[0].movie_folders))
        raise DataUnfitError(
            f"its movies are those of {taken[paths[0]]}, which have the same names; its own were recorded in "
            f"{folder or 'another folder'}: copy them to a folder of their own, or leave out one of the mdocs"
        )
    taken |= dict.fromkeys(paths, series.name)


def movies_folder(params: ImportMoviesParams) -> Path:
    """Folder of the movies: this one or one below it."""
    return (params.frames_directory or params.directory).absolute()


def require_references(params: ImportMoviesParams) -> None:
    """Raise UserInputError if a given file does not exist."""
    for role, path in (
        ("gain reference", params.gain),
        ("dark reference", params.dark),
        ("defects file", params.defects),
    ):
        if path is not None and not path.is_file():
            raise UserInputError(f"the {role} {path} does not exist; correct the parameter of import_movies")


def _movie_folder(folder: Path, wanted: list[FoundSeries], params: ImportMoviesParams) -> MovieFolder:
    """Movies below the folder and those of the mdocs; if some are missing, also in the folders of these."""
    if params.frames_directory:
        return MovieFolder([folder])
    own = [folder, *(entry.folder for entry in wanted)]
    movies = MovieFolder(own)
    named = [(entry.folder, e.movie_name) for entry in wanted for e in entry.exposures if e.movie_name]
    lacking = [place for place, name in named if not movies.holds(name)]
    if params.pattern or 2 * len(lacking) <= len(named):  # a few may be lost; the others give the folder
        return movies
    near = [path for place in sorted(set(lacking)) for path in files_near(place)]
    return MovieFolder([*own, *sorted({place.parent for place in lacking})], [*movies.files, *near])


def _by_mdoc(params: ImportMoviesParams, context: StepContext) -> list[FoundSeries]:
    directory = params.directory.absolute()
    files = find_mdocs(directory, params.mdoc)
    if not files.paths:
        raise UserInputError(_nothing_found(directory, params.mdoc, files.searched))
    found, notes = series_of_mdocs(files.paths)
    if files.is_beside:
        movies = MovieFolder([directory])
        found = [e for e in found if any(movies.holds(x.movie_name) for x in e.exposures if x.movie_name)]
        if not found:
            raise UserInputError(_nothing_found(directory, params.mdoc, files.searched))
    for note in ([files.note] if files.note else []) + notes:
        context.warn(note)
    if not found:
        stacks = [path for path in files.paths if path.with_suffix("").is_file()]
        hint = (
            f"; {stacks[0].with_suffix('').name} is a stack: process it, or use the workflow "
            "tomogram_from_stack"
            if stacks
            else ""
        )
        raise UserInputError(f"no {params.mdoc} in {directory} describes a tilt series of movies{hint}")
    return found


def _nothing_found(directory: Path, pattern: str, searched: str) -> str:
    """Message that there are no mdocs, with the folder that was searched and what it contains."""
    movies = MovieFolder([directory])
    what = (
        f"; there are {movies.n_movies} movies, e.g. {movies.example}: give pattern, e.g. "
        f"{{TS}}_{{TO}}_{{TA}}.tif, or copy their mdocs there"
        if movies.n_movies
        else "; give the mdoc or pattern parameter of import_movies"
    )
    return f"there is no {pattern} in {searched}{what}"


def series_of(
    entry: FoundSeries,
    folder: MovieFolder,
    params: ImportMoviesParams,
    context: StepContext,
    describe: Describe = describe_movie,
) -> TiltSeries:
    """The series, with movies found in ``folder`` and opened by ``describe``; raises DataUnfitError."""
    if entry.error is not None:
        raise entry.error
    exposures, angles = decided_angles(entry.exposures)
    exposures, order = in_order_of_acquisition(exposures, params.scheme)
    absent = absent_orders(exposures)
    if absent:
        context.warn(
            f"{entry.name}: no movie has the number {_listed(absent)}; it is assumed to be lost after "
            "exposure, so its dose is counted"
        )
    doses, dose = accumulated_doses(
        exposures, params.dose_per_tilt_per_angstrom2, params.initial_dose_per_angstrom2
    )
    movies = _movies(exposures, entry, folder, params, describe)
    there = [movie for movie in movies if isinstance(movie, Movie)]
    if len(there) < params.min_tilts:
        missing = next((str(movie) for movie in movies if not isinstance(movie, Movie)), None)
        raise DataUnfitError(
            "the series has too few tilts for a tomogram; complete it or leave it out",
            got_tilts=len(there),
            expected_tilts=f"{params.min_tilts} or more",
            **({} if missing is None else {"first_missing": missing}),
        )
    for exposure, movie in zip(exposures, movies, strict=True):
        if not isinstance(movie, Movie):
            context.warn(f"{entry.name}: the tilt at {exposure.tilt_deg:.1f} deg is left out: {movie}")
    _warn_of_repeated_angles(exposures, entry.name, context)
    header = _header(there[0])
    if header is not None and header.note:
        context.warn(f"{entry.name}: {there[0].path.name}: {header.note}")
    pixel_size, size = movie_pixel_size(
        there[0],
        None if header is None else header.pixel_size_angstrom,
        entry.mdocs,
        params.pixel_size_angstrom,
    )
    axis = entry.mdoc.axis if entry.mdoc else None
    kilovolt, volts = voltage(entry.mdoc, params.voltage_kv)
    frames = number_of_frames(
        there, [e.n_frames for e, m in zip(exposures, movies, strict=True) if m in there]
    )
    evidence = (
        order,
        angles,
        dose,
        size,
        axis_evidence(axis, params.tilt_axis_deg),
        volts,
        frames,
        _image_size(there[0], entry.mdoc),
    )
    for one in evidence:
        if one.note:
            context.warn(f"{entry.name}: {one.note}")
    tilts = [
        Tilt(
            acquisition_index=place,
            nominal_tilt_deg=exposure.tilt_deg,
            dose_start_per_angstrom2=dose[0],
            dose_end_per_angstrom2=dose[1],
            movie=movie,
            acquired_at=exposure.acquired_at,
            nominal_defocus_angstrom=exposure.nominal_defocus_angstrom,
        )
        for place, exposure, dose, movie in zip(
            places_in_time(exposures), exposures, doses, movies, strict=True
        )
        if isinstance(movie, Movie)
    ]
    context.record(
        "import",
        {
            "mdoc": str(entry.mdoc.path) if entry.mdoc else None,
            "ordered_by": order.used,
            "dose_by": dose.used,
            "told_dose_per_angstrom2": [exposure.dose_per_angstrom2 for exposure in exposures],
            "pixel_size_by": size.used,
            "told_pixel_size_angstrom": entry.mdoc.pixel_size_angstrom if entry.mdoc else None,
            "told_voltage_kv": entry.mdoc.voltage_kv if entry.mdoc else None,
            "evidence": [one.as_json() for one in evidence],
        },
    )
    return TiltSeries(
        name=entry.name,
        microscope=params.microscope(kilovolt),
        pixel_size_angstrom=pixel_size,
        tilts=tuple(sorted(tilts, key=lambda tilt: (tilt.nominal_tilt_deg, tilt.acquisition_index))),
        tilt_axis_deg=params.nominal_axis(axis),
        axis_is_directed=params.tilt_axis_deg is not None or axis is None or axis.is_directed,
        tilt_offset_deg=Sourced.from_told(params.tilt_offset_deg, "user"),
        handedness=Sourced.from_told(params.handedness, "user"),
        gain=_gain(there[0], params),
        dark_path=None if params.dark is None else params.dark.absolute(),
    )


def _movies(
    exposures: list[Exposure],
    entry: FoundSeries,
    folder: MovieFolder,
    params: ImportMoviesParams,
    describe: Describe,
) -> list[Movie | DataUnfitError]:
    """Movies of all tilts, or the reason why there is none if that is allowed.

    Raises DataUnfitError if one is shared, differs from the others, is missing or damaged.
    """
    _require_one_each([(e.movie_name, e.movie_folders) for e in exposures if e.movie_name is not None])
    movies: list[Movie | DataUnfitError] = []
    for exposure in exposures:
        try:
            movies.append(describe(movie_path(exposure, entry, folder, params), params.eer_sampling))
        except DataUnfitError as error:
            if not params.leave_out_missing:
                raise DataUnfitError(
                    f"{error.message}; to continue without such tilts, add "
                    "--set import_movies.leave_out_missing=true",
                    **error.facts,
                ) from error
            movies.append(error)
    _require_one_each([(movie.path.name, movie.path) for movie in movies if isinstance(movie, Movie)])
    shapes = Counter(movie.shape_yx for movie in movies if isinstance(movie, Movie))
    if len(shapes) < 2:
        return movies
    (usual, n_usual), (_, n_other) = shapes.most_common(2)
    if n_usual <= 2 * n_other:
        other = next(m for m in movies if isinstance(m, Movie) and m.shape_yx != usual)
        raise DataUnfitError(
            f"{other.path.name} has another shape than most movies; import those as a separate series",
            got_yx=other.shape_yx,
            expected_yx=usual,
        )
    return [
        movie
        if not isinstance(movie, Movie) or movie.shape_yx == usual
        else DataUnfitError(
            f"{movie.path.name} has another shape than the other movies",
            got_yx=movie.shape_yx,
            expected_yx=usual,
        )
        for movie in movies
    ]


def _require_one_each(named: list[tuple[str, object]]) -> None:
    """Raise DataUnfitError if two tilts have the same movie, by its name and its other marks."""
    counts = Counter(named)
    shared = next((one for one, n in counts.items() if n > 1), None)
    if shared is not None:
        raise DataUnfitError(
            f"the movie {shared[0]} is named for {counts[shared]} tilts; "
            "correct the SubFramePath lines of the mdoc"
        )


def movie_path(
    exposure: Exposure, entry: FoundSeries, folder: MovieFolder, params: ImportMoviesParams
) -> Path:
    """Path of a tilt's movie; raises DataUnfitError if it is missing."""
    if exposure.movie_name is None:
        raise DataUnfitError(
            f"the metadata name no movie for the tilt at {exposure.tilt_deg:.1f} deg (no SubFramePath); "
            "complete the mdoc, or import by pattern"
        )
    if params.pattern:
        return entry.folder / exposure.movie_name
    return folder.find(exposure.movie_name, entry.folder, exposure.movie_folders)


def _header(movie: Movie) -> MrcPixels | None:
    """The header of a movie, for formats that give pixel size and number type."""
    is_mrc = movie.path.suffix.lower() in (".mrc", ".mrcs", ".st")
    return MrcPixels(movie.path) if is_mrc else None


def _image_size(movie: Movie, mdoc: Mdoc | None) -> Evidence:
    """Shape of the movies, and that of the mdoc's stack, which may be binned."""
    shape = f"{movie.shape_yx[1]} x {movie.shape_yx[0]}"
    sources, note = [Source("movie files", shape)], ""
    if mdoc is not None and mdoc.image_shape_yx is not None:
        n_y, n_x = mdoc.image_shape_yx
        sources.append(Source("mdoc ImageSize", f"{n_x} x {n_y}", "of the stack, which may be binned"))
        of_movie = movie.shape_yx[1] / movie.shape_yx[0]
        if abs(of_movie * n_x / n_y - 1) < _SAME_RATIO < abs(of_movie * n_y / n_x - 1):
            note = (
                f"the movies are {shape} pixels, the images of the mdoc {n_x} x {n_y}: the movies are stored "
                "turned by 90 degrees, and the tilt axis of the mdoc is that of its images. Check the axis "
                "that the alignment finds, or give tilt_axis_deg for the movies"
            )
    return Evidence("image size, pixels", shape, "movie files", tuple(sources), note)


def _gain(movie: Movie, params: ImportMoviesParams) -> GainReference | None:
    if params.gain is None:
        return None
    is_given = params.gain_quarter_turns is not None or params.gain_flip is not None
    is_eer = movie.path.suffix.lower() == ".eer"
    return GainReference(
        path=params.gain.absolute(),
        quarter_turns=params.gain_quarter_turns or 0,
        flip=params.gain_flip or "none",
        orientation_by="user" if is_given else "",
        defects_path=params.defects.absolute() if params.defects else None,
        divides=is_eer and params.gain.suffix.lower() != ".gain",
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown} and {len(numbers) - 5} more" if len(numbers) > 5 else shown


def _warn_of_repeated_angles(exposures: list[Exposure], name: str, context: StepContext) -> None:
    counts = Counter(round(exposure.tilt_deg, 1) for exposure in exposures)
    repeated = [f"{angle:.1f}" for angle, n in sorted(counts.items()) if n > 1]
    if repeated:
        context.warn(f"{name}: {', '.join(repeated)} deg was acquired more than once; all images are kept")
