"""Scipion's protocols that make, correct and denoise tomograms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import (
    OPTIONS,
    SERIES,
    NotTranslatedError,
    Piece,
    Rule,
    Surroundings,
    if_positive,
    one_of,
    only_if,
    p,
    pixels,
    same,
    times,
)

__all__ = ["TOMOGRAM_RULES"]


def _some_pixels(value: Any, around: Surroundings) -> float:
    """Pixels as angstrom; 0 and -1 mean the default."""
    return float(pixels(if_positive(value, around), around))


_RADIAL = p(radialFirstParameter="cutoff_per_px", radialSecondParameter="falloff_per_px")
_IMOD_RECONSTRUCT = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "reconstruct",
            {
                **_RADIAL,
                **p(
                    tomoThickness=("thickness_angstrom", pixels),
                    tomoWidth=("width_angstrom", _some_pixels),
                    fakeInteractionsSIRT="sirt_like_iterations",
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
        "tomoShiftZ": "the middle of the specimen is the origin of the alignment; z_shift_px moves it",
        "angleOffset": "tilt_offset_deg of reconstruct turns the specimen; its sign is seen in the tomogram",
        "tiltAxisOffset": "the origin is that of the alignment",
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
                width=("width_angstrom", _some_pixels),
            ),
            keeps_voxels=True,
        ),
    ),
    quiet={
        "method": 0,
        "nIterations": None,
        "setShape": None,
        "width": 0,
        "iniSlice": 0,
        "finSlice": 0,
        "Hamming": None,
    },
    counts_if=dict.fromkeys(["height", "width"], lambda values: bool(values.get("setShape", True))),
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
            "estimate_ctf",
            p(doPhaseShiftSearch="phase_plate"),
            when=lambda values: bool(values.get("doEstimateCtf")),
            outputs=r".*(CTF|Ctf).*",
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
        "minPhaseShift": None,
        "maxPhaseShift": None,
        "sampleType": 0,
        "coordsFn": None,
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
        "sampleType": "set local of align_series for an alignment that differs over the field",
        "flipInt": "contrast stays as it is: export inverts it where a program needs that",
        "flipVol": "volumes have the axes xyz",
        "extraParams": OPTIONS,
    },
    counts_if={
        **dict.fromkeys(
            ["tomoThickness", "binFactor", "reconMethod", "SARTiter", "flipInt", "flipVol"],
            lambda values: bool(values.get("makeTomo", True)),
        ),
        **dict.fromkeys(
            [
                "alignZ",
                "alignZfile",
                "darkTol",
                "refineTiltAngles",
                "refineTiltAxis",
                "roiArea",
                "sampleType",
            ],
            lambda values: not values.get("skipAlign"),
        ),
        "doPhaseShiftSearch": lambda values: bool(values.get("doEstimateCtf")),
    },
    defaults={"reconMethod": 0, "binFactor": 2, "doEstimateCtf": True},
)

_EMAN_RECONSTRUCT = Rule(
    inputs=("inputTS", *SERIES),
    pieces=(
        Piece(
            "align_series",
            p(tiltAxisAngle="tilt_axis_deg"),
            when=lambda values: bool(values.get("doAlignment", True)),
            outputs=r".*[Tt]iltSeries.*",
        ),
        Piece("reconstruct", when=lambda values: bool(values.get("doRec", True))),
    ),
    quiet=dict.fromkeys(
        [
            *("doAlignment", "doRec", "compressBits", "genInterpolatedTs", "writeIntermediateRes"),
            *("letEmanEstimateTilts", "tltStep", "zeroId", "bytile", "moreTile", "extrapad", "correctXDrift"),
        ]
    )
    | {"rmbeadthr": -1.0, "clipz": -1, "correctrot": False},
    why={
        **dict.fromkeys(
            ["nLandmarks", "pkKeep", "patchTrack", "boxSizeTrk", "nIters"], "belongs to EMAN's algorithm"
        ),
        "outsize": "set voxel_size_angstrom of reconstruct: 1k, 2k and 4k are its pixels along x",
        "clipz": "it is in voxels of the size of outsize: set thickness_angstrom of reconstruct",
        "tltkeep": "tilts that cannot be aligned are excluded",
        "correctrot": "set position = slab of reconstruct, after estimate_slab",
        "filterres": "tomograms keep their detail: cutoff_per_px of reconstruct is a low-pass",
        "rmbeadthr": "put erase_beads before reconstruct",
    },
    counts_if=dict.fromkeys(
        ["outsize", "clipz", "tltkeep", "correctrot", "filterres", "rmbeadthr", "nIters"],
        lambda values: bool(values.get("doRec", True)),
    )
    | dict.fromkeys(
        ["nLandmarks", "pkKeep", "patchTrack", "boxSizeTrk", "tiltAxisAngle"],
        lambda values: bool(values.get("doAlignment", True)),
    ),
)

_RELION_RECONSTRUCT = Rule(
    inputs=("protPrepare", *SERIES, "inputTS", "inReParticles"),
    pieces=(
        Piece(
            "reconstruct",
            p(
                binFactor="binning",
                thickness=("thickness_angstrom", _some_pixels),
                width=("width_angstrom", _some_pixels),
                height=("length_angstrom", _some_pixels),
            ),
            binning="binFactor",
        ),
    ),
    quiet={"recTomoMode": None, "tomoId": None, "thickness": -1, "width": -1, "height": -1},
    defaults={"binFactor": 8},
)

_XMIPP_RECONSTRUCT = Rule(
    inputs=SERIES,
    pieces=(
        Piece(
            "reconstruct",
            p(reconstructionMethod=("method", one_of("sart", "sirt"))),
            keeps_voxels=True,
        ),
    ),
    defaults={"reconstructionMethod": 0},
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
    defaults={"correctionType": 0},
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
    quiet={
        "areEvenOddLinked": None,
        "oddTomos": None,
        "odd": None,
        "model": None,
        "n_tiles": None,
        "tilt_axis": None,
    },
)


def _depth(value: Any, around: Surroundings) -> int:
    """Depth of the network; 0 means the program's default."""
    if int(value) < 1:
        raise NotTranslatedError("it is chosen by the program")
    return int(value)


def _box(value: Any, around: Surroundings) -> int:
    halvings = int(around.values.get("unet_n_depth") or 2)
    if int(value) % (1 << halvings):
        raise NotTranslatedError(f"expected a multiple of {1 << halvings} (2^depth)")
    return int(value)


_BINNED_VOLUME = "volumes are binned where they are made: set binning of reconstruct"
_BINNED_TOMOGRAMS = Rule(
    inputs=("inputSetOfTomograms", "inputTomograms", "inputTomos", "inTomograms", "inputSet"),
    pieces=(),
    rescales="binning",
    quiet={
        "floatDensities": None,  # every step scales grey values itself
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
        [
            *("binning", "resizeSamplingRate", "resizeFactor", "resizeOption", "resizeDim", "resizeLevel"),
            *("newXsize", "newYsize", "newZsize"),
        ],
        _BINNED_VOLUME,
    ),
    defaults={"binning": 1},
)
_RESIZED_TOMOGRAMS = replace(_BINNED_TOMOGRAMS, rescales="?", defaults={})

_WARP_RECONSTRUCT = Rule(
    inputs=("inputSet", *SERIES),
    ctf="inputSetOfCtfTomoSeries",
    pieces=(
        Piece(
            "reconstruct",
            p(
                angpix="voxel_size_angstrom",
                tomo_thickness=("thickness_angstrom", pixels),
                x_dimension=("width_angstrom", pixels),
                y_dimension=("length_angstrom", pixels),
                halfmap_tilts="halves",
            ),
        ),
    ),
    quiet={"deconv": False, "invert": False, "normalize": None},
    why={
        "deconv": "put deconvolve after reconstruct",
        "invert": "contrast stays as it is: export inverts it where a program needs that",
    },
)

_ISONET = Rule(
    inputs=("prepDataProt", "inTomos"),
    pieces=(
        Piece("denoise", p(epochs="epochs", learning_rate="learning_rate"), {"method": "missing_wedge"}),
    ),
    quiet=dict.fromkeys(["inTsSet", "inCtfSet", "tomoMasks", "model", "generateMask", "tomo_idx", "kernel"]),
    why=dict.fromkeys(
        [
            *("snrfalloff", "deconvstrength", "highpassnyquist", "chunk_size", "overlap_rate", "patch_size"),
            *("density_percentage", "std_percentage", "z_crop", "number_subtomos", "cube_size", "crop_size"),
            *("pretrained_model", "iterations", "batch_size", "steps_per_epoch", "noise_level"),
            *("noise_start_iter", "noise_mode", "drop_out", "convs_per_depth", "unet_depth", "filter_base"),
            *("batch_normalization", "pool", "normalize_percentile"),
        ],
        "belongs to IsoNet's algorithm: see denoise, which fills the missing wedge by another",
    ),
)

_TOMO3D_DENOISE = Rule(
    inputs=("inputSetTomograms",),
    pieces=(Piece("denoise"),),
    why=dict.fromkeys(
        ["method", "SigmaGaussian", "nIter", "nIterBflow", "Lambda", "TimeStep", "TimeStepBflow"],
        "belongs to diffusion: denoise trains a network on the halves of the tomogram",
    ),
    counts_if=dict.fromkeys(["nIter", "Lambda", "TimeStep"], lambda values: not values.get("method"))
    | dict.fromkeys(["nIterBflow", "TimeStepBflow"], lambda values: bool(values.get("method"))),
)

_CLIPPED = Rule(
    inputs=("inputTomograms",),
    pieces=(
        Piece(
            "trim_tomogram",
            p(
                xDim=("width_angstrom", pixels),
                yDim=("length_angstrom", pixels),
                zDim=("thickness_angstrom", pixels),
            ),
        ),
    ),
    why=dict.fromkeys(
        ["xc", "yc", "zc"],
        "it counts from a corner: set middle_xyz_angstrom of trim_tomogram, which counts from the centre",
    ),
)


def _tomogram_files(value: Any, around: Surroundings) -> str:
    """Names of files from a pattern in which {TS} is the name of the series."""
    return str(value).rsplit("/", 1)[-1].replace("{TS}", "*")


TOMOGRAM_RULES: dict[str, Rule] = {
    "EmanProtTomoClip": _CLIPPED,
    "ProtImportTomograms": Rule(
        pieces=(
            Piece(
                "import_tomograms",
                p(
                    filesPath="directory",
                    filesPattern=("files", _tomogram_files),
                    samplingRate="voxel_size_angstrom",
                    voltage="voltage_kv",
                    sphericalAberration="spherical_aberration_mm",
                    amplitudeContrast="amplitude_contrast",
                ),
            ),
        ),
        quiet={
            "importFrom": 0,
            "importAcquisitionFrom": None,
            "acquisitionData": None,
            "acquisitionAngleMax": None,
            "acquisitionAngleMin": None,
            "step": None,
            "acquireParameters": None,
            "setOrigCoord": False,
            "fromMrcHeader": None,
            "x": None,
            "y": None,
            "z": None,
        },
        why={
            "exclusionWords": "name the tomograms to take instead",
            "tiltAxisAngle": "tomograms are taken without their tilt series",
        },
    ),
    "ProtImodTomoNormalization": _BINNED_TOMOGRAMS,
    "ProtTomoNormalization": _BINNED_TOMOGRAMS,
    "ProtImodTomoPreProcess": _BINNED_TOMOGRAMS,
    "DynamoBinTomograms": replace(_BINNED_TOMOGRAMS, defaults={"binning": 2}),
    "XmippProtResizeTomograms": _RESIZED_TOMOGRAMS,
    "CistemProtTomoResample": _RESIZED_TOMOGRAMS,
    "ProtJjsoftReconstructTomogram": _TOMO3D,
    "ProtRelionTomoReconstruct": _RELION_RECONSTRUCT,
    "XmippProtReconstructTomograms": _XMIPP_RECONSTRUCT,
    "ProtTomoReconstruction": _IMOD_RECONSTRUCT,
    "ProtJjsoftProtDenoiseTomogram": _TOMO3D_DENOISE,
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
    "ProtWarpTomoReconstruct": _WARP_RECONSTRUCT,
    "ProtIsoNetTomoReconstruction": replace(
        _ISONET, inputs=("inputTomograms",), ctf="inputSetOfCtfTomoSeries"
    ),
    "ProtIsonet2PrepareData": Rule(
        inputs=("inTomos",),
        quiet={"inTsSet": None, "inCtfSet": None, "tomoMasks": None},
        why={"create_average": "denoise takes the halves of tomograms as they are"},
    ),
    "ProtIsonet2Training": replace(_ISONET, part_of_next=True),
    "ProtIsonet2Refine": _ISONET,
    "ProtIsonet2Predict": _ISONET,
    "ProtTomo3dProtDenoiseTomogram": _TOMO3D_DENOISE,
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
                    patch_shape=("box_px", _box),
                    num_slices="n_boxes",
                    unet_n_first="filters",
                    unet_n_depth=("depth", _depth),
                ),
            ),
        ),
        quiet={**_CRYOCARE.quiet, "unet_kern_size": 3, "unet_n_depth": 0},
        why={
            "n_normalization_samples": "grey values are normalised with all boxes",
            "split": "part of the boxes is kept for validation",
            "unet_kern_size": "filters are 3 voxels wide",
        },
    ),
    "ProtCryoCAREPrediction": _CRYOCARE,
    "ProtWarpDeconvTomo": Rule(
        inputs=("inputTomograms", "inputSet"),
        ctf="inputCTFs",
        pieces=(
            Piece(
                "deconvolve",
                p(deconvstrength="strength", snrfalloff="falloff", highpassnyquist="highpass_fraction"),
            ),
        ),
    ),
}
