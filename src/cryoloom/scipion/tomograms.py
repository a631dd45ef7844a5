"""Scipion's protocols that make, correct and denoise tomograms."""

from __future__ import annotations

from cryoloom.scipion.rule import (
    SERIES,
    Piece,
    Rule,
    one_of,
    only_if,
    p,
    pixels,
    same,
    times,
)

__all__ = ["TOMOGRAM_RULES"]

_RADIAL = p(radialFirstParameter="cutoff_per_px", radialSecondParameter="falloff_per_px")
_IMOD_RECONSTRUCT = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "reconstruct",
            {
                **_RADIAL,
                **p(
                    tomoThickness=("thickness_angstrom", pixels), fakeInteractionsSIRT="sirt_like_iterations"
                ),
            },
            keeps_voxels=True,
        ),
    ),
    quiet={
        "tomoWidth": 0,
        "tomoShiftX": 0,
        "tomoShiftZ": 0,
        "angleOffset": 0,
        "tiltAxisOffset": 0,
        "superSampleFactor": None,
    },
    why={
        "tomoShiftX": "the origin is that of the alignment",
        "tomoShiftZ": "the origin is that of the alignment; estimate_slab will centre the specimen",
    },
)

_TOMO3D = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "reconstruct",
            p(
                method=("method", one_of(None, "sirt")),
                nIterations=("iterations", only_if("method", 1, same)),
                height=("thickness_angstrom", pixels),
            ),
            keeps_voxels=True,
        ),
    ),
    quiet={
        "method": 0,
        "nIterations": None,
        "setShape": True,
        "width": 0,
        "iniSlice": 0,
        "finSlice": 0,
        "Hamming": None,
    },
)

_ARETOMO_UNBINNED = p(tomoThickness=("thickness_angstrom", pixels), binFactor="binning")

_SART = p(
    reconMethod=("method", one_of("sart", None)),
    SARTiter=("iterations", only_if("reconMethod", 0, same)),
)

_ARETOMO = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "select_tilts",
            sets={"find_covered": False, "find_shifted": False, "find_blurred": False},
            when=lambda values: not values.get("skipAlign"),
        ),
        Piece(
            "estimate_ctf", when=lambda values: bool(values.get("doEstimateCtf")), outputs=r".*(CTF|Ctf).*"
        ),
        Piece("weight_dose", when=lambda values: bool(values.get("doDW"))),
        Piece(
            "align_series",
            p(refineTiltAxis=("axis", one_of("fixed", "one", "per_view"))),
            sets={"method": "no_markers"},
            when=lambda values: not values.get("skipAlign"),
            outputs=r".*[Tt]iltSeries.*",
        ),
        Piece(
            "reconstruct",
            {**_ARETOMO_UNBINNED, **_SART},
            when=lambda values: bool(values.get("makeTomo", True)),
            binning="binFactor",
        ),
    ),
    quiet={
        "skipAlign": None,
        "makeTomo": None,
        "doEstimateCtf": None,
        "doDW": None,
        "flipVol": True,
        "flipInt": False,
        "doPhaseShiftSearch": False,
        "minPhaseShift": None,
        "maxPhaseShift": None,
        "sampleType": 0,
        "patchX": None,
        "patchY": None,
        "reconMethod": 1,
        "SARTiter": None,
        "SARTproj": None,
    },
    why={
        "alignZ": "the alignment needs no thickness",
        "alignZfile": "the alignment needs no thickness",
        "refineTiltAngles": "tilt_offset_deg of the import is a pretilt; estimate_slab will measure it",
        "darkTol": "another measure: dark_ratio of select_tilts",
        "roiArea": "the alignment chooses its features by itself",
        "sampleType": "local alignment has no counterpart",
    },
)

_EMAN_RECONSTRUCT = Rule(
    inputs=SERIES,
    pieces=(
        Piece("align_series", outputs=r".*[Tt]iltSeries.*"),
        Piece("reconstruct"),
    ),
)

_NOVACTF = Rule(
    inputs=SERIES,
    ctf="inputSetOfCtfTomoSeries",
    pieces=(
        Piece(
            "reconstruct",
            {
                **_RADIAL,
                **p(
                    tomoThickness=("thickness_angstrom", pixels),
                    defocusStep=("ctf_step_angstrom", times(10.0)),
                    correctionType=("ctf_correction", one_of("phase_flip", "multiply")),
                ),
            },
            keeps_voxels=True,
        ),
    ),
    quiet={"correctAstigmatism": True, "tomoShift": 0},
    why={"tomoShift": "the origin is that of the alignment"},
)

_ETOMO = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "align_series",
            p(markersDiameter=("bead_diameter_angstrom", times(10.0))),
            sets={"method": "beads"},
            outputs=r".*(TiltSeries|Landmark|Coordinates|Fiducial).*",
        ),
        Piece("reconstruct"),
    ),
    quiet={"applyAlignment": False},
    why={"applyAlignment": "no aligned stack is needed"},
)

_CRYOCARE = Rule(
    inputs=("tomos", "tomo", "evenTomos", "inputTomograms", "inputTomoSet", "even", "train_data"),
    pieces=(Piece("denoise"),),
)

_BINNED_VOLUME = "volumes are binned where they are made: set binning of reconstruct"
_BINNED_TOMOGRAMS = Rule(
    inputs=("inputSetOfTomograms", "inputTomograms", "inputSet"),
    pieces=(),
    quiet={
        "floatDensities": None,  # every step scales grey values as it needs them
        "modeToOutput": None,
        "scaleRangeToggle": None,
        "scaleRangeMax": None,
        "scaleRangeMin": None,
        "scaleMean": None,
        "scaleSd": None,
        "scaleMax": None,
        "scaleMin": None,
        "meanSdToggle": None,
        "antialias": None,
    },
    why=dict.fromkeys(
        ["binning", "resizeSamplingRate", "resizeFactor", "resizeOption", "resizeDim"], _BINNED_VOLUME
    ),
)

TOMOGRAM_RULES: dict[str, Rule] = {
    "ProtImportTomograms": Rule(
        pieces=(Piece("import_tomograms", p(filesPath="directory", samplingRate="voxel_size_angstrom")),),
        quiet={
            "importFrom": 0,
            "filesPattern": None,
            "acquireParameters": None,
            "setOrigCoord": False,
            "fromMrcHeader": None,
            "x": None,
            "y": None,
            "z": None,
        },
    ),
    "ProtImodTomoNormalization": _BINNED_TOMOGRAMS,
    "ProtTomoNormalization": _BINNED_TOMOGRAMS,
    "ProtImodTomoPreProcess": _BINNED_TOMOGRAMS,
    "XmippProtResizeTomograms": _BINNED_TOMOGRAMS,
    "ProtJjsoftReconstructTomogram": _TOMO3D,
    "ProtRelionTomoReconstruct": Rule(
        inputs=(*SERIES, "inputTS", "inReParticles"), pieces=(Piece("reconstruct"),)
    ),
    "ProtTomoReconstruction": _IMOD_RECONSTRUCT,
    "ProtJjsoftProtDenoiseTomogram": Rule(inputs=("inputSetTomograms",), pieces=(Piece("denoise"),)),
    "ProtCtfCorrection": Rule(
        inputs=SERIES,
        ctf="inputSetOfCtfTomoSeries",
        pieces=(Piece("correct_ctf", sets={"method": "phase_flip"}),),
    ),
    "ProtImodEtomo": _ETOMO,
    "ProtAreTomoAlignRecon": _ARETOMO,
    "EmanProtTsAlignTomoRec": _EMAN_RECONSTRUCT,
    "ProtImodCtfCorrection": Rule(
        inputs=SERIES,
        ctf="inputSetOfCtfTomoSeries",
        pieces=(Piece("correct_ctf", sets={"method": "phase_flip"}),),
        why={
            "defocusTol": "the width of strips follows from the requested resolution",
            "interpolationWidth": "every pixel is taken between two corrected images",
        },
    ),
    "ProtNovaCtf": _NOVACTF,
    "ProtNovaCtfTomoReconstruction": _NOVACTF,
    "ProtNovaCtfTomoDefocus": Rule(
        inputs=SERIES,
        ctf="inputSetOfCtfTomoSeries",
        part_of_next=True,
        pieces=_NOVACTF.pieces,
        quiet=_NOVACTF.quiet,
        why=_NOVACTF.why,
    ),
    "ProtImodTomoReconstruction": _IMOD_RECONSTRUCT,
    "ProtTomo3dReconstrucTomo": _TOMO3D,
    "ProtRelion5TomoReconstruct": Rule(inputs=(*SERIES, "inputTS"), pieces=(Piece("reconstruct"),)),
    "ProtWarpTomoReconstruct": Rule(inputs=SERIES, pieces=(Piece("reconstruct"),)),
    "ProtTomo3dProtDenoiseTomogram": Rule(inputs=("inputSetTomograms",), pieces=(Piece("denoise"),)),
    "ProtCryoCAREPrepareTrainingData": Rule(
        inputs=_CRYOCARE.inputs, part_of_next=True, pieces=(Piece("denoise"),)
    ),
    "ProtCryoCARETraining": Rule(
        inputs=_CRYOCARE.inputs,
        part_of_next=True,
        pieces=(
            Piece(
                "denoise",
                p(
                    epochs="epochs",
                    steps_per_epoch="steps_per_epoch",
                    batch_size="batch",
                    learning_rate="learning_rate",
                ),
            ),
        ),
    ),
    "ProtCryoCAREPrediction": _CRYOCARE,
    "ProtWarpDeconvTomo": Rule(
        inputs=("inputTomograms", "inputSet"),
        pieces=(
            Piece(
                "deconvolve",
                p(deconvstrength="strength", snrfalloff="falloff", highpassnyquist="highpass_fraction"),
            ),
        ),
    ),
}
