"""Scipion's protocols of movies, images, CTF and alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import (
    OPTIONS,
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

__all__ = ["MICROSCOPE", "MOTIONCOR", "SERIES_RULES", "WARP_MOTION", "of_ctffind", "of_gctf"]

MICROSCOPE = p(
    voltage="voltage_kv",
    sphericalAberration="spherical_aberration_mm",
    amplitudeContrast="amplitude_contrast",
    samplingRate="pixel_size_angstrom",
    doseInitial="initial_dose_per_angstrom2",
)
_ACQUISITION = {
    **MICROSCOPE,
    **p(tiltAxisAngle="tilt_axis_deg", dosePerFrame="dose_per_tilt_per_angstrom2"),
}


def _first_frame(value: Any, around: Surroundings) -> int:
    """Scipion counts frames from 1; 0 also means the first frame."""
    return max(int(value), 1)


def _last_frame(value: Any, around: Surroundings) -> int | None:
    """0 means the last frame."""
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


def _stack_names(value: Any, around: Surroundings) -> str:
    """Names of stacks from a pattern in which {TS} is the name of the series."""
    name = str(value).rsplit("/", 1)[-1]
    if "{TO}" in name or "{TA}" in name:
        raise NotTranslatedError("an image for each tilt: make stacks of them, or import movies")
    return name.replace("{TS}", "*")


_IMPORT_STACKS = Rule(
    pieces=(
        Piece(
            "import_tilt_series",
            {**_ACQUISITION, **p(filesPath="stack", filesPattern=("stacks", _stack_names))},
        ),
    ),
    quiet={
        "isTomo5": None,
        "magnification": None,
        "ctfCorrected": False,
        "interpolated": False,
        "minAngle": None,  # used only without an mdoc, like the next two
        "maxAngle": None,
        "stepAngle": None,
    },
    why={"exclusionWords": "name the series to take instead"},
    counts_if={"filesPattern": lambda values: ".mdoc" not in str(values.get("filesPattern"))},
)

_LOCAL_MOTION = "set local_grid_xyt of align_frames for motion that differs over the field"

MOTIONCOR = Rule(
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
        "gainRot": 0,  # determined from the movies
        "gainFlip": 0,
        "eerSampling": 0,
        "doApplyDoseFilter": False,
    },
    why={
        "sumFrame0": "the frames that are aligned are summed: set first_frame",
        "sumFrameN": "the frames that are aligned are summed: set last_frame",
        "patchX": _LOCAL_MOTION,
        "patchY": _LOCAL_MOTION,
        "eerGroup": "fractions are set by dose: set eer_dose_per_fraction (0.5 e/A^2)",
        "tol": "belongs to MotionCor's algorithm",
        "group": "belongs to MotionCor's algorithm",
        "groupLocal": "belongs to MotionCor's algorithm",
        "extraParams2": OPTIONS,
    },
)


_LEAST_CONTROLS = 2
"""Least number of points of local_grid_xyt along each axis for local motion in align_frames."""


def _local_grid(value: Any, around: Surroundings) -> Any:
    grid = [int(around.values.get(axis) or 1) for axis in "xyz"]
    if max(grid[:2]) < 2:
        raise NotTranslatedError("every frame has a shift of its own")
    if min(grid) < _LEAST_CONTROLS:
        raise NotTranslatedError("a grid needs two points along x, y and time: set local_grid_xyt")
    return grid


def _binned_pixels(value: Any, around: Surroundings) -> float:
    """Warp's window is in pixels of the binned images; the pixel size of its input is that of the movies."""
    return float(pixels(value, around)) * float(around.values.get("binFactor") or 1)


_WARP_CTF = p(
    range_min="low_resolution_angstrom",
    range_max="high_resolution_angstrom",
    defocus_min=("min_defocus_angstrom", times(1e4)),
    defocus_max=("max_defocus_angstrom", times(1e4)),
    window=("tile_angstrom", _binned_pixels),
    fit_phase="phase_plate",
)

WARP_MOTION = Rule(
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
        "use_sum": False,
        "handedness": None,  # always estimated
        "gainSwap": 0,
        "gainFlip": 0,
        "eer_ngroups": None,  # the group size follows from the dose
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
                findPhaseShift="phase_plate",
                doPhShEst="phase_plate",
            ),
        ),
    ),
    quiet={
        "ctfDownFactor": 1.0,
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
        "fixAstig": None,
        "astigmatism": None,
        "recalculate": None,
        "inputType": 1,
        "avgFrames": None,
        "usePowerSpectra": False,
    },
    why={"stepDefocus": "the step follows from the frequencies"},
)

_GCTF = replace(
    _CTFFIND,
    quiet={
        "ctfDownFactor": 1.0,
        "astigmatism": None,
        "doHighRes": None,
        "doValidate": None,
        "plotResRing": None,
        **dict.fromkeys(
            [
                *("doEPA", "EPAsmp", "doBasicRotave", "overlap", "convsize", "smoothResL", "bfactor"),
                *("HighResL", "HighResH", "HighResBf", "phaseShiftL", "phaseShiftH", "phaseShiftS"),
                *("phaseShiftT", "coSearchRefine", "refine2DT"),
            ]
        ),
    },
)


def of_ctffind(feeds: str) -> Rule:
    """Rule of CTFFIND for a protocol whose input has this name."""
    return replace(_CTFFIND, inputs=(feeds,))


def of_gctf(feeds: str) -> Rule:
    """Rule of Gctf for a protocol whose input has this name."""
    return replace(_GCTF, inputs=(feeds,))


_EMAN_CTF = Rule(
    inputs=("inputTS", *SERIES),
    pieces=(
        Piece(
            "estimate_ctf",
            p(
                minDefocus=("min_defocus_angstrom", times(1e4)),
                maxDefocus=("max_defocus_angstrom", times(1e4)),
                tilesize=("tile_angstrom", pixels),
                doPhaseShiftSearch="phase_plate",
            ),
        ),
    ),
    quiet={
        "minPhaseShift": None,
        "maxPhaseShift": None,
        "stepPhaseShift": None,
    },
    why=dict.fromkeys(["nref", "stepx", "stepy", "stepDefocus"], "belongs to EMAN's algorithm"),
)

_IMOD_CTF = Rule(
    inputs=("inputSetOfTiltSeries", "inputTiltSeries"),
    pieces=(Piece("estimate_ctf", p(tileSize=("tile_angstrom", pixels), searchPhaseShift="phase_plate")),),
    quiet={
        "searchAstigmatism": None,
        "skipAstigmaticViews": False,
        "expectedDefocusOrigin": 0,
        "searchCutOnFreq": False,
        "maximumCutOnFreq": None,
    },
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
    "binning": None,  # of a stack that is only for display
}


def _beads_or_patches(
    choice: str, of_beads: Mapping[str, tuple[str, Convert]], of_patches: Mapping[str, tuple[str, Convert]]
) -> tuple[Piece, ...]:
    """Alignment by the method with the number ``choice``, with the parameters of this method."""

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
        "binning": None,  # of a stack that is only for display
        "eraseGoldBeads": False,
        "betterRadius": None,
    },
    why={
        "twoSurfaces": "beads have their own heights",
        "groupRotationSize": "groups are of five tilts",
        "groupTiltAngleSize": "groups are of five tilts",
        "groupMagnificationSize": "groups are of five tilts",
        "eraseGoldBeads": "put erase_beads after align_series",
    },
    defaults={"rotationSolutionType": 2, "tiltAngleSolutionType": 1, "magnificationSolutionType": 0},
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
    defaults={"binning": 1},
)


def _pixel_of_matrices(around: Surroundings) -> float | None:
    """Pixel size of the aligned images; None if it is that of the series."""
    aligned, series = (float(around.values.get(name) or 1) for name in ("binningTM", "binningTS"))
    if aligned == series:
        return None
    return float(pixels(aligned / series, around))


def _radius(value: Any, around: Surroundings) -> float:
    """Radius in angstrom from a diameter in nm."""
    return 5.0 * float(value)


def _control_points(around: Surroundings) -> list[int] | None:
    """Xmipp's control points for local motion, if the user set them."""
    if not around.values.get("doLocalAlignment") or around.values.get("autoControlPoints", True):
        return None
    return [int(around.values[f"controlPoint{axis}"]) for axis in "XYT"]


_FLEXALIGN = Rule(
    inputs=("inputTiltSeriesM",),
    pieces=(
        Piece(
            "align_frames",
            p(
                binFactor="binning",
                alignFrame0=("first_frame", _first_frame),
                alignFrameN=("last_frame", _last_frame),
                maxShift="max_shift_angstrom",
                maxResForCorrelation="finest_angstrom",
            ),
            derives={"local_grid_xyt": _control_points},
            binning="binFactor",
            upstream={
                "import_movies": {
                    name: MOTIONCOR.pieces[0].upstream["import_movies"][name]
                    for name in ("gainRot", "gainFlip")
                }
            },
        ),
    ),
    quiet={
        **MOTIONCOR.quiet,
        "doSaveAveMic": None,
        "doSaveMovie": False,
        "doComputePSD": None,
        "doLocalAlignment": False,
        "nFrames": None,
        "controlPointX": None,
        "controlPointY": None,
        "controlPointT": None,
        "autoControlPoints": None,
        "autoPatches": None,
        "patchesX": None,
        "patchesY": None,
        "minLocalRes": None,
        "groupNFrames": None,
    },
    why={**MOTIONCOR.why, "doLocalAlignment": _LOCAL_MOTION},
    counts_if={"doLocalAlignment": lambda values: bool(values.get("autoControlPoints", True))},
)

_RELION_MOTION = Rule(
    inputs=("inputTiltSeriesM",),
    pieces=(replace(MOTIONCOR.pieces[0], takes=p(binningFactor="binning"), binning="binningFactor"),),
    quiet={
        "patchX": 1,
        "patchY": 1,
        "groupFrames": 1,
        "saveEvenOdd": None,  # always made
        "saveSumPowerSpectra": None,
        "sumPowerSpectraNFrames": None,
        "outputInFloat16": None,
        "gainRot": 0,
        "gainFlip": 0,
    },
    why={
        "patchX": _LOCAL_MOTION,
        "patchY": _LOCAL_MOTION,
        "groupFrames": "every frame has a shift of its own",
        "bFactor": "it is in pixels there: set b_factor_angstrom2",
        "eerFractionation": "fractions are set by dose: set eer_dose_per_fraction (0.5 e/A^2)",
        "extraParams": OPTIONS,
    },
)


def _pyramid(around: Surroundings) -> float | None:
    """Binning from Xmipp's factor or pyramid level; None if a pixel size is given."""
    option = int(around.values.get("resizeOption") or 0)
    if option == 0:
        return None
    factor = float(around.values["resizeFactor"]) if option == 1 else 2.0 ** int(around.values["resizeLevel"])
    if factor > 1:
        raise NotTranslatedError(f"images are not enlarged (by {factor:g})")
    return 1.0 / factor


_RESIZE_SERIES = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "bin_series",
            p(resizeSamplingRate="pixel_size_angstrom"),
            derives={"binning": _pyramid},
            binning="resizeOption",
        ),
    ),
    quiet={"resizeOption": None, "resizeFactor": None, "resizeLevel": None},
    counts_if={"resizeSamplingRate": lambda values: not values.get("resizeOption")},
    defaults={"resizeOption": 0, "resizeSamplingRate": 1.0},
)

SERIES_RULES: dict[str, Rule] = {
    "ProtImodTSNormalization": _TS_NORMALIZATION,
    "ProtTSNormalization": _TS_NORMALIZATION,
    "ProtImodTsPreprocess": _TS_NORMALIZATION,
    "ProtNewstack": _TS_NORMALIZATION,
    "ProtImodImportTransformationMatrix": Rule(
        inputs=SERIES,
        pieces=(
            Piece(
                "import_alignment",
                p(filesPath="folder"),
                {"program": "imod"},
                derives={"pixel_size_angstrom": _pixel_of_matrices},
            ),
        ),
        quiet={
            "importFrom": 0,
            "filesPattern": None,
            "matchBinning": None,
            "binningTM": None,
            "binningTS": None,
            "override": True,
        },
        why={"exclusionWords": "name the series to take instead"},
    ),
    "ProtImportTsCTF": Rule(
        inputs=SERIES,
        pieces=(
            Piece(
                "import_ctf",
                p(filesPath="folder", importFrom=("program", one_of("ctffind", "imod", None, "aretomo"))),
            ),
        ),
        quiet={"filesPattern": None},
        why={"importFrom": "the program is found from the files", "exclusionWords": "name the series"},
    ),
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
    "ProtTsMotionCorr": MOTIONCOR,
    "ProtTsAverage": Rule(inputs=("inputTiltSeriesM",), pieces=(Piece("align_frames"),)),
    "XmippProtTsFlexAlign": _FLEXALIGN,
    "ProtRelionTomoMotionCorr": _RELION_MOTION,
    "XmippProtDoseFilter": _DOSE,
    "XmippProtResizeTiltSeries": _RESIZE_SERIES,
    "XmippProtApplyTransformationMatrixTS": Rule(inputs=SERIES, pieces=(Piece("apply_alignment"),)),
    "ProtWarpTSMotionCorr": WARP_MOTION,
    "CistemProtTsCtffind": _CTFFIND,
    "ProtTsGctf": of_gctf("inputTiltSeries"),
    "ProtImodAutomaticCtfEstimation": _IMOD_CTF,
    "ProtImodManualCtfEstimation": _IMOD_CTF,
    "EmanProtEstimateCTF": _EMAN_CTF,
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
    "ProtImodFiducialEraser": Rule(
        inputs=SERIES,
        pieces=(
            Piece(
                "erase_beads",
                p(
                    fidDiameter=("bead_diameter_angstrom", times(10.0)),
                    erasedDiameter=("radius_angstrom", _radius),
                ),
            ),
        ),
    ),
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
"""Earlier names of the same protocols."""
