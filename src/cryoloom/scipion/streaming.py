"""Scipion's protocols for single movies and micrographs, which its streaming combines into tilt series.

In Scipion, movies are imported and summed one by one, and later grouped into series by their mdocs. Here the
import knows the series from the beginning and takes its parameters from all of these protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import NotTranslatedError, Piece, Rule, Surroundings, p
from cryoloom.scipion.series import MICROSCOPE, MOTIONCOR, WARP_MOTION, of_ctffind, of_gctf

__all__ = ["STREAMING_RULES"]

_IMPORT_SINGLE_MOVIES = Rule(
    pieces=(
        Piece(
            "import_movies",
            {**MICROSCOPE, **p(filesPath="frames_directory", gainFile="gain", darkFile="dark")},
        ),
        Piece("prepare_gain", when=lambda values: bool(values.get("gainFile"))),
    ),
    quiet={
        "filesPattern": None,  # the mdocs contain the names of the movies
        "importFrom": 0,
        "acquisitionWizard": None,
        "magnification": None,
        "samplingRateMode": None,
        "haveDataBeenPhaseFlipped": False,
        "useRegexps": None,
        "inputIndividualFrames": False,
        "numberOfIndividualFrames": None,
        "stackFrames": False,
        "writeMoviesInProject": False,
        "movieSuffix": None,
        "deleteFrames": False,
    },
    why={
        "dosePerFrame": "the dose of a tilt is that of its mdoc. Scipion takes this value as the dose of a "
        "tilt where an mdoc has none: set dose_per_tilt_per_angstrom2",
        "scannedPixelSize": "set pixel_size_angstrom of import_movies",
        **dict.fromkeys(
            ["blacklistFile", "blacklistSet", "blacklistDateFrom", "blacklistDateTo", "moviesToExclude"],
            "name the series to take instead",
        ),
    },
    counts_if={
        "samplingRate": lambda values: not values.get("samplingRateMode"),
        "scannedPixelSize": lambda values: bool(values.get("samplingRateMode")),
    },
)

_SINGLE_MOVIES = replace(
    MOTIONCOR,
    inputs=("inputMovies",),
    quiet={
        **MOTIONCOR.quiet,
        "doSaveAveMic": None,
        "doSaveMovie": False,
        "doSaveUnweightedMic": None,
        "doComputePSD": None,
        "doComputeMicThumbnail": None,
        "extraProtocolParams": None,
    },
    why={**MOTIONCOR.why, "doApplyDoseFilter": "weight_dose weights the tilts of a series by their dose"},
)


_OF_WARP = WARP_MOTION.pieces[0]
_SINGLE_MOVIES_OF_WARP = replace(
    WARP_MOTION,
    inputs=("inputMovies",),
    pieces=(
        replace(
            _OF_WARP,
            takes={**_OF_WARP.takes, **p(range_min="coarsest_angstrom", range_max="finest_angstrom")},
            outputs="",
        ),
    ),
)


def _is_part(value: Any, around: Surroundings) -> bool:
    """Whether series with missing tilts are accepted."""
    return float(value) < 100


def _if_given(value: Any, around: Surroundings) -> float:
    """In Scipion an angle of 0 means that none is given."""
    if not float(value):
        raise NotTranslatedError("the mdoc's is taken")
    return float(value)


_COMPOSE = Rule(
    inputs=("inputMicrographs",),
    upstream={
        "import_movies": p(
            filesPath="directory",
            mdocPattern="mdoc",
            filesPattern="mdoc",
            minNumTilts="min_tilts",
            percentTiltsRequired=("leave_out_missing", _is_part),
            manualTiltAxisAngle=("tilt_axis_deg", _if_given),
        )
    },
    quiet={
        "isTomo5": None,
        "manualTiltAxisAngle": 0.0,
        "mdoc_bug_Correction": False,
        "time4NextTilt": None,  # `cryoloom watch` has its own intervals
        "time4NextMic": None,
        "time4NextTS": None,
        "time4NextTilt_current": None,
    },
    why={
        "mdoc_bug_Correction": "the sign of TiltAngle is compared with names, and the user is warned",
        "excludedWords": "name the series to take instead",
        "exclusionWords": "name the series to take instead",
    },
)

_ALIGNED = frozenset({"align_series", "import_alignment", "assign_poses"})
"""Steps after which Scipion's series has the shifts that its filter evaluates."""
#: Position of "custom" in the list of presets of Scipion's filter of views; only then are its limits used.
_CUSTOM_PRESET = 4


def _judges_images(around: Surroundings) -> bool:
    return int(around.values.get("qualityFilterFactor") or 0) != 0


def _shift_fraction(around: Surroundings) -> float | None:
    """Largest shift as a fraction of the field; None if no tilt is excluded by its shift."""
    if not around.before & _ALIGNED:
        return None
    limit = min(float(around.values.get(name) or 0) for name in ("maxShiftX", "maxShiftY"))
    if limit <= 0:
        raise NotTranslatedError("a largest shift of 0 excludes every tilt that was moved by the alignment")
    return limit if limit < 1 else None


def _judges_shifts(around: Surroundings) -> bool:
    try:
        return _shift_fraction(around) is not None
    except NotTranslatedError:
        return False


def _within_right_angle(value: Any, around: Surroundings) -> float:
    if abs(float(value)) >= 90:
        raise NotTranslatedError("no tilt is beyond 90 degrees")
    return float(value)


def _is_custom(values: Mapping[str, Any]) -> bool:
    return int(values.get("qualityFilterFactor") or 0) == _CUSTOM_PRESET


_QUALITY = (
    "darkSensitivity",
    "darkLocalRatioTh",
    "darkWindow",
    "darkCosFloor",
    "darkCropFraction",
    "extremeContrastTh",
    "minEntropy",
    "minEdgeEnergy",
)
_OTHER_MEASURE = "dark, covered and blurred tilts are found with limits of other measures: see select_tilts"

_FILTER_VIEWS = Rule(
    inputs=("inTsSet",),
    pieces=(
        Piece(
            "select_tilts",
            p(
                minTilt=("min_tilt_deg", _within_right_angle),
                maxTilt=("max_tilt_deg", _within_right_angle),
                maxDose="max_dose_per_angstrom2",
            ),
            derives={
                "find_dark": _judges_images,
                "find_covered": _judges_images,
                "find_blurred": _judges_images,
                "find_shifted": _judges_shifts,
                "shift_fraction": _shift_fraction,
            },
        ),
        Piece(
            "select_items",
            p(minViews=("where", lambda value, around: f"n_included >= {int(value)}")),
            when=lambda values: int(values.get("minViews") or 0) > 1,
        ),
    ),
    quiet={
        "qualityFilterFactor": (0, 2),  # disabled, balanced
        "maxShiftX": None,
        "minTilt": None,
        "maxTilt": None,
        "minDose": 0.0,
        "minViews": None,
        "doReStack": None,  # steps ignore excluded tilts, even if they are in the stack
    },
    why={
        "qualityFilterFactor": _OTHER_MEASURE,
        "maxShiftY": "one fraction serves x and y: the smaller one is used",
        "minDose": "tilts are not excluded for a small dose",
        **dict.fromkeys(_QUALITY, _OTHER_MEASURE),
    },
    counts_if={
        "maxShiftY": lambda values: values.get("maxShiftX") != values.get("maxShiftY"),
        **dict.fromkeys(_QUALITY, _is_custom),
    },
    defaults={
        "maxShiftX": 0.0,
        "maxShiftY": 0.0,
        "minTilt": -30.0,
        "maxTilt": 30.0,
        "maxDose": 70.0,
        "qualityFilterFactor": 2,
        "minViews": 30,
    },
)

STREAMING_RULES: dict[str, Rule] = {
    "ProtImportMovies": _IMPORT_SINGLE_MOVIES,
    "ProtMotionCorr": _SINGLE_MOVIES,
    "ProtMotionCorrNewStreaming": _SINGLE_MOVIES,
    "ProtMotionCorrTasks": _SINGLE_MOVIES,
    "ProtWarpMotionCorr": _SINGLE_MOVIES_OF_WARP,
    "CistemProtUnblur": Rule(
        inputs=("inputMovies",),
        pieces=(
            Piece(
                "align_frames",
                p(
                    binFactor="binning",
                    bfactor="b_factor_angstrom2",
                    OutRadShiftLimit="max_shift_angstrom",
                    **{name: MOTIONCOR.pieces[0].takes[name] for name in ("alignFrame0", "alignFrameN")},
                ),
                binning="binFactor",
            ),
        ),
        quiet={
            "useAlignToSum": True,
            "doSaveAveMic": None,
            "doComputePSD": None,
            "doComputeMicThumbnail": None,
            "doApplyDoseFilter": False,
            "doRestoreNoisePwr": None,
        },
        why={
            "doApplyDoseFilter": "weight_dose weights the tilts of a series by their dose",
            **dict.fromkeys(
                [
                    "minShiftInitSearch",
                    "terminShiftThreshold",
                    "maximumNumberIterations",
                    "HWHoriFourMask",
                    "HWVertFourMask",
                ],
                "belongs to Unblur's algorithm",
            ),
        },
    ),
    "CistemProtCTFFind": of_ctffind("inputMicrographs"),
    "ProtGctf": of_gctf("inputMicrographs"),
    "ProtComposeTS": _COMPOSE,
    "ProtExclViewFilter": _FILTER_VIEWS,
}
