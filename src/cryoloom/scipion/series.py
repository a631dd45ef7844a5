"""Scipion's protocols of movies, images, CTF and alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import (
    SERIES,
    Convert,
    NotTranslatedError,
    Piece,
    Rule,
    Surroundings,
    first,
    one_of,
    p,
    pixels,
    same,
    times,
    views_of_file,
)

__all__ = ["SERIES_RULES"]

_MICROSCOPE = p(
    voltage="voltage_kv",
    sphericalAberration="spherical_aberration_mm",
    amplitudeContrast="amplitude_contrast",
    samplingRate="pixel_size_angstrom",
    doseInitial="initial_dose_per_angstrom2",
)
_ACQUISITION = {
    **_MICROSCOPE,
    **p(tiltAxisAngle="tilt_axis_deg", dosePerFrame="dose_per_tilt_per_angstrom2"),
}


def _first_frame(value: Any, around: Surroundings) -> int:
    """Scipion counts frames from 1; 0 too means the first."""
    return max(int(value), 1)


def _last_frame(value: Any, around: Surroundings) -> int | None:
    """0 means the last frame there is."""
    return int(value) or None


_IMPORT_MOVIES = Rule(
    pieces=(
        Piece(
            "import_movies",
            {
                **_ACQUISITION,
                **p(filesPath="directory", filesPattern=("mdoc", same), gainFile="gain", darkFile="dark"),
            },
            renames={"mdoc": lambda value: "mdoc" if ".mdoc" in str(value) else "pattern"},
        ),
        Piece("prepare_gain", when=lambda values: bool(values.get("gainFile"))),
    ),
    quiet={"isTomo5": None, "magnification": None},
    why={"exclusionWords": "name the series to take instead"},
)

_IMPORT_STACKS = Rule(
    pieces=(Piece("import_tilt_series", {**_ACQUISITION, **p(filesPath="stack")}),),
    quiet={
        "isTomo5": None,
        "magnification": None,
        "ctfCorrected": False,
        "interpolated": False,
        "filesPattern": "*.mdoc",
        "minAngle": None,  # used without an mdoc only, as are the next two
        "maxAngle": None,
        "stepAngle": None,
    },
)

_MOTIONCOR = Rule(
    inputs=("inputTiltSeriesM",),
    pieces=(
        Piece(
            "align_frames",
            p(
                binFactor="binning",
                alignFrame0=("first_frame", _first_frame),
                alignFrameN=("last_frame", _last_frame),
            ),
            binning="binFactor",
            upstream={
                "import_movies": p(
                    gainRot=("gain_quarter_turns", one_of(None, 1, 2, 3)),
                    gainFlip=("gain_flip", one_of(None, "upside_down", "left_right")),
                    eerSampling=("eer_sampling", one_of(None, 2, 4)),
                    defectFile="defects",
                    defectMap="defects",
                )
            },
        ),
    ),
    quiet={
        "useAlignToSum": True,
        "sumFrame0": 1,
        "sumFrameN": 0,
        "splitEvenOdd": None,  # always made
        "patchX": 0,
        "patchY": 0,
        "patchOverlap": 0,
        "cropOffsetX": 0,
        "cropOffsetY": 0,
        "cropDimX": 0,
        "cropDimY": 0,
        "doMagCor": False,
        "scaleMaj": 1.0,
        "scaleMin": 1.0,
        "angDist": 0.0,
        "gainRot": 0,  # found from the movies
        "gainFlip": 0,
        "eerSampling": 0,
        "doApplyDoseFilter": False,
    },
    why={
        "sumFrame0": "the frames that are aligned are summed: set first_frame",
        "sumFrameN": "the frames that are aligned are summed: set last_frame",
        "patchX": "set local_grid_xyt of align_frames for motion that differs over the field",
        "patchY": "set local_grid_xyt of align_frames for motion that differs over the field",
        "eerGroup": "fractions are set by dose: set eer_dose_per_fraction (0.5 e/A^2)",
        "tol": "belongs to MotionCor's algorithm",
        "group": "belongs to MotionCor's algorithm",
        "groupLocal": "belongs to MotionCor's algorithm",
    },
)


def _local_grid(value: Any, around: Surroundings) -> Any:
    grid = [int(around.values.get(axis) or 1) for axis in "xyz"]
    if max(grid[:2]) < 2:
        raise NotTranslatedError("every frame has a shift of its own")
    return grid


def _binned_pixels(value: Any, around: Surroundings) -> float:
    """Warp's window is in pixels of the binned images, its input has those of the movies."""
    return float(pixels(value, around)) * float(around.values.get("binFactor") or 1)


_WARP_CTF = p(
    range_min="low_resolution_angstrom",
    range_max="high_resolution_angstrom",
    defocus_min=("min_defocus_angstrom", times(1e4)),
    defocus_max=("max_defocus_angstrom", times(1e4)),
    window=("tile_angstrom", _binned_pixels),
)

_WARP_MOTION = Rule(
    inputs=("inputTSMovies",),
    pieces=(
        Piece(
            "align_frames",
            {
                **p(
                    binFactor="binning",
                    m_range_min="coarsest_angstrom",
                    m_range_max="finest_angstrom",
                    bfactor=("b_factor_angstrom2", lambda value, around: -float(value)),
                    eer_groupexposure="eer_dose_per_fraction",
                ),
                **dict.fromkeys("xyz", ("local_grid_xyt", _local_grid)),
            },
            binning="binFactor",
            outputs=r"TiltSeries.*",
        ),
        Piece("estimate_ctf", _WARP_CTF, when=lambda values: bool(values.get("estimateCTF", True))),
    ),
    quiet={
        "average_halves": None,
        "estimateCTF": None,
        "x": 1,
        "y": None,
        "z": 1,
        "fit_phase": False,
        "use_sum": False,
        "handedness": None,  # always estimated
        "gainSwap": 0,
        "gainFlip": 0,
        "eer_ngroups": None,  # a group is set by dose
    },
    why={
        "gainFlip": "the orientation of the gain is found from the movies",
        "gainSwap": "the orientation of the gain is found from the movies",
        "z": "every frame has a shift of its own",
        "c_x": "the CTF follows the tilt of the specimen",
        "c_y": "the CTF follows the tilt of the specimen",
        "c_z": "the CTF follows the tilt of the specimen",
    },
)

_CTFFIND = Rule(
    inputs=("inputTiltSeries", "inputSetOfTiltSeries"),
    pieces=(
        Piece(
            "estimate_ctf",
            p(
                windowSize=("tile_angstrom", pixels),
                lowRes="low_resolution_angstrom",
                highRes="high_resolution_angstrom",
                minDefocus="min_defocus_angstrom",
                maxDefocus="max_defocus_angstrom",
            ),
        ),
    ),
    quiet={
        "ctfDownFactor": 1.0,
        "findPhaseShift": False,
        "minPhaseShift": None,
        "maxPhaseShift": None,
        "stepPhaseShift": None,
        "measureTilt": False,
        "measureThickness": False,
        "search1D": None,
        "refine2D": None,
        "lowResNodes": None,
        "highResNodes": None,
        "useRoundedSquare": None,
        "downweightNodes": None,
        "slowSearch": False,
        "fixAstig": True,
        "astigmatism": None,
    },
    why={"stepDefocus": "the step follows from the frequencies", "findPhaseShift": "no phase plate is known"},
)

_IMOD_CTF = Rule(
    inputs=("inputSetOfTiltSeries", "inputTiltSeries"),
    pieces=(Piece("estimate_ctf", p(tileSize=("tile_angstrom", pixels))),),
    quiet={"searchAstigmatism": None, "skipAstigmaticViews": False, "expectedDefocusOrigin": 0},
    why=dict.fromkeys(
        [
            "defocusTol",
            "leftDefTol",
            "rightDefTol",
            "angleStep",
            "angleRange",
            "expectedDefocusValue",
            "expectedDefocusFile",
            "startFreq",
            "endFreq",
            "extraZerosToFit",
            "maximumAstigmatism",
            "numberSectorsAstigmatism",
            "minimumViewsAstigmatism",
            "minimumViewsPhaseShift",
        ],
        "belongs to ctfplotter's algorithm: the whole series is one model here",
    ),
)

_TRIMS = dict.fromkeys(["pxTrim", "xmin", "xmax", "ymin", "ymax", "Trimming parameters"])
_TRACKING = {
    **_TRIMS,
    **dict.fromkeys(["filterRadius1", "filterSigma1", "filterRadius2", "filterSigma2", "cumulativeCorr"]),
    "doTrackWithModel": True,
    "patchLayout": 0,
    "numberOfPatches": None,
    "iterationsSubpixel": None,
    "refineSobelFilter": True,
    "scalableSigmaForSobelFilter": None,
    "computeAlignment": None,
}


def _beads_or_patches(
    choice: str, of_beads: Mapping[str, tuple[str, Convert]], of_patches: Mapping[str, tuple[str, Convert]]
) -> tuple[Piece, ...]:
    """Alignment by the method that ``choice`` numbers, with the parameters of that method."""

    def chosen(number: int, takes: Mapping[str, tuple[str, Convert]]) -> Piece:
        return Piece(
            "align_series",
            {choice: ("method", one_of("beads", "patches")), **takes},
            when=lambda values: int(values.get(choice) or 0) == number,
        )

    return chosen(0, of_beads), chosen(1, of_patches)


_FIDUCIAL_MODEL = Rule(
    inputs=SERIES,
    part_of_next=True,
    pieces=_beads_or_patches(
        "typeOfModel",
        p(fiducialDiameter=("bead_diameter_angstrom", times(10.0))),
        p(sizeOfPatches=("patch_angstrom", pixels), overlapPatches=("patch_overlap", first(same))),
    ),
    quiet={**_TRACKING, "sizeOfPatches": "680 680", "overlapPatches": "0.33 0.33", "fiducialDiameter": 10.0},
    why={
        "numberFiducial": "all beads that can be tracked are used",
        "twoSurfaces": "beads have their own heights",
    },
)

_FIDUCIAL_ALIGNMENT = Rule(
    inputs=("inputSetOfLandmarkModels",),
    pieces=(
        Piece(
            "align_series",
            p(
                rotationSolutionType=("axis", one_of("fixed", "one", "grouped", "per_view")),
                tiltAngleSolutionType=("tilt", one_of("fixed", "grouped", "per_view")),
                magnificationSolutionType=("magnification", one_of("fixed", "grouped", "per_view")),
            ),
        ),
    ),
    quiet={
        "distortionSolutionType": 0,
        "xStretchGroupSize": None,
        "skewGroupSize": None,
        "groupRotationSize": 5,
        "groupTiltAngleSize": 5,
        "groupMagnificationSize": 4,
        "computeAlignment": None,
    },
    why={
        "twoSurfaces": "beads have their own heights",
        "groupRotationSize": "groups are of five tilts",
        "groupTiltAngleSize": "groups are of five tilts",
        "groupMagnificationSize": "groups are of five tilts",
    },
)

_BATCHRUNTOMO = Rule(
    inputs=SERIES,
    pieces=_beads_or_patches(
        "alignMode",
        p(fidSize=("bead_diameter_angstrom", times(10.0))),
        p(patchSize="patch_angstrom", patchOverlapPercent=("patch_overlap", times(0.01))),
    ),
    quiet={"fidSize": None, "patchSize": None, "patchOverlapPercent": None},
)

_DOSE = Rule(
    inputs=SERIES,
    pieces=(Piece("weight_dose", p(initialDose="extra_dose_per_angstrom2")),),
    quiet={"inputDoseType": 0, "fixedImageDose": None},
    why={"inputDoseType": "set the dose of a tilt at the import"},
)

# Streaming: movies are imported and summed one by one, and grouped into series by their mdocs later. Here the
# import knows the series from the beginning, and takes its parameters from each of these protocols.
_IMPORT_SINGLE_MOVIES = Rule(
    pieces=(
        Piece(
            "import_movies",
            {**_MICROSCOPE, **p(filesPath="frames_directory", gainFile="gain", darkFile="dark")},
        ),
        Piece("prepare_gain", when=lambda values: bool(values.get("gainFile"))),
    ),
    quiet={
        "filesPattern": None,  # movies are found by the names in the mdocs
        "importFrom": 0,
        "acquisitionWizard": None,
        "magnification": None,
        "samplingRateMode": 0,
        "scannedPixelSize": None,
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
        "dosePerFrame": "it is per frame; the mdocs or dose_per_tilt_per_angstrom2 give the dose of a tilt",
        "blacklistFile": "name the series to take instead",
    },
)

_COMPOSE = Rule(
    inputs=("inputMicrographs",),
    pieces=(),
    upstream={"import_movies": p(filesPath="directory", mdocPattern="mdoc", filesPattern="mdoc")},
    quiet={
        "isTomo5": None,
        "excludedWords": None,
        "exclusionWords": None,
        "percentTiltsRequired": None,
        "mdoc_bug_Correction": False,
        "time4NextTilt": None,  # `cryoloom watch` has its own intervals
        "time4NextMic": None,
        "time4NextTS": None,
        "time4NextTilt_current": None,
    },
    why={"mdoc_bug_Correction": "the sign of TiltAngle is compared with names, and the user is warned"},
)

_TS_NORMALIZATION = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "bin_series",
            p(binning="binning", floatDensities=("values", one_of(None, None, "standard"))),
            binning="binning",
        ),
    ),
    quiet={
        "floatDensities": 0,
        "scaleMean": None,
        "scaleSd": None,
        "scaleMax": None,
        "scaleMin": None,
        "scaleRangeToggle": None,
        "scaleRangeMax": None,
        "scaleRangeMin": None,
        "meanSdToggle": None,
        "scaleMeanSd": None,
        "modeToOutput": None,
        "antialias": None,
    },
    why={"floatDensities": "every step scales grey values as it needs them"},
)

SERIES_RULES: dict[str, Rule] = {
    "ProtImportMovies": _IMPORT_SINGLE_MOVIES,
    "ProtMotionCorr": replace(
        _MOTIONCOR,
        inputs=("inputMovies",),
        quiet={
            **_MOTIONCOR.quiet,
            "doSaveAveMic": None,
            "doSaveMovie": False,
            "doSaveUnweightedMic": None,
            "doComputePSD": None,
            "doComputeMicThumbnail": None,
            "extraProtocolParams": None,
        },
    ),
    "ProtComposeTS": _COMPOSE,
    "ProtImodTSNormalization": _TS_NORMALIZATION,
    "ProtTSNormalization": _TS_NORMALIZATION,
    "ProtImodTsPreprocess": _TS_NORMALIZATION,
    "ProtNewstack": _TS_NORMALIZATION,
    "ProtImodImportTransformationMatrix": Rule(
        inputs=SERIES,
        pieces=(Piece("import_alignment", p(filesPath="folder"), {"program": "imod"}),),
        quiet={"importFrom": 0, "filesPattern": None, "matchBinning": None},
    ),
    "ProtImportTsCTF": Rule(
        inputs=SERIES,
        pieces=(Piece("import_ctf", p(filesPath="folder")),),
        quiet={"importFrom": None, "filesPattern": None},
    ),
    "CistemProtCTFFind": replace(_CTFFIND, inputs=("inputMicrographs",)),
    "ProtCorrectTiltOffset": Rule(
        inputs=SERIES,
        pieces=(),
        upstream={
            "import_movies": p(tiltOffset="tilt_offset_deg"),
            "import_tilt_series": p(tiltOffset="tilt_offset_deg"),
        },
    ),
    "ProtImportTsMovies": _IMPORT_MOVIES,
    "ProtImportTs": _IMPORT_STACKS,
    "ProtTsMotionCorr": _MOTIONCOR,
    "ProtTsAverage": Rule(inputs=("inputTiltSeriesM",), pieces=(Piece("align_frames"),)),
    "XmippProtTsFlexAlign": Rule(
        inputs=("inputTiltSeriesM",),
        pieces=(Piece("align_frames", p(binFactor="binning"), binning="binFactor"),),
    ),
    "ProtWarpTSMotionCorr": _WARP_MOTION,
    "CistemProtTsCtffind": _CTFFIND,
    "ProtTsGctf": _CTFFIND,
    "ProtImodAutomaticCtfEstimation": _IMOD_CTF,
    "ProtImodManualCtfEstimation": _IMOD_CTF,
    "EmanProtEstimateCTF": Rule(inputs=SERIES, pieces=(Piece("estimate_ctf"),)),
    "ProtSusanEstimateCtf": Rule(inputs=SERIES, pieces=(Piece("estimate_ctf"),)),
    "ProtImodXraysEraser": Rule(
        inputs=SERIES,
        pieces=(
            Piece(
                "erase_xrays",
                p(peakCriterion="peak_sigma", diffCriterion="difference_sigma", maximumRadius="radius_px"),
            ),
        ),
        why={"bigDiffCriterion": "large spots use giant_sigma, another measure"},
    ),
    "ProtFidderDetectAndEraseFiducials": Rule(
        inputs=SERIES,
        pieces=(Piece("erase_beads"),),
        quiet={"saveMaskStack": False},
        why={"probThreshold": "belongs to Fidder's network; min_significance is the threshold here"},
    ),
    "ProtImodFiducialEraser": Rule(inputs=SERIES, pieces=(Piece("erase_beads"),)),
    "ProtImodDoseFilter": _DOSE,
    "ProtImodExcludeViews": Rule(
        inputs=SERIES,
        pieces=(Piece("exclude_tilts", p(excludeViewsFile=("views", views_of_file)), {"restack": True}),),
    ),
    "ProtImodTsNormalization": _TS_NORMALIZATION,
    "ProtImodApplyTransformationMatrix": Rule(
        inputs=SERIES,
        pieces=(Piece("apply_alignment", p(binning="binning"), binning="binning"),),
        quiet={"taperInside": None, "linear": False},
    ),
    "ProtImodXcorrPrealignment": Rule(
        inputs=SERIES,
        part_of_next=True,
        pieces=(Piece("align_series", p(tiltAxisAngle="tilt_axis_deg")),),
        quiet=_TRACKING,
    ),
    "ProtImodFiducialModel": _FIDUCIAL_MODEL,
    "ProtImodFiducialAlignment": _FIDUCIAL_ALIGNMENT,
    "ProtImodBRT": _BATCHRUNTOMO,
    "ProtAssignTransformationMatrixTiltSeries": Rule(
        inputs=("setTMSetOfTiltSeries",),
        roles={"getTMSetOfTiltSeries": "poses_from"},
        pieces=(Piece("assign_poses"),),
    ),
}

SERIES_RULES |= {
    older: SERIES_RULES[newer]
    for older, newer in {
        "ProtImportTiltSeries": "ProtImportTs",
        "ProtMotionCorrTiltSeries": "ProtTsMotionCorr",
        "ProtMotionCorrectTiltSeries": "ProtTsMotionCorr",
        "ProtAverageTiltSeries": "ProtTsAverage",
        "ProtTsCtffind": "CistemProtTsCtffind",
        "ProtImodXcorr": "ProtImodXcorrPrealignment",
        "ProtApplyTransformationMatrix": "ProtImodApplyTransformationMatrix",
        "ProtCtfEstimation": "ProtImodAutomaticCtfEstimation",
        "ProtImodCtfEstimation": "ProtImodAutomaticCtfEstimation",
        "ProtImodCtfEstimationInteractive": "ProtImodManualCtfEstimation",
        "ProtFidModelGen": "ProtImodFiducialModel",
        "ProtFiducialModel": "ProtImodFiducialModel",
        "ProtFiducialAlignment": "ProtImodFiducialAlignment",
        "ProtImodGoldBeadEraser": "ProtImodFiducialEraser",
        "ProtImodImportSetOfCtfTomoSeries": "ProtImportTsCTF",
    }.items()
}
"""Names that the same protocols had before."""
