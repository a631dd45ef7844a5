"""Scipion's protocols of picks, particles and averages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import (
    OPTIONS,
    NotTranslatedError,
    Piece,
    Rule,
    Surroundings,
    if_positive,
    one_of,
    only_if,
    p,
    point_group,
    same,
)

__all__ = ["PARTICLE_RULES"]

_EXTRACT = Rule(
    inputs=("inReParticles", "inputCoordinates"),
    roles={"inputTS": "series_from"},
    ctf="inputCtfTs",
    pieces=(
        Piece("assign_series", for_roles=True),
        Piece(
            "extract_particles",
            p(
                binningFactor="binning",
                boxSize="box_px",
                croppedBoxSize="crop_px",
                maxDose="max_dose_per_angstrom2",
                minNoFrames="min_tilts",
                write2dStacks=("output", lambda value, around: "stacks" if value else "volumes"),
                outputInFloat16="float16",
            ),
        ),
    ),
    quiet={"handedness": None, "applyConeWeight": False, "coneAngle": None, "genProjCoords": False},
    why={
        "applyConeWeight": "weights follow from the tilts that show a particle",
        "genProjCoords": "`cryoloom view` shows particles in the tilt images",
        "extraParams": OPTIONS,
    },
)


def _binning_of_tomogram(around: Surroundings) -> float | None:
    """Binning at which a box in voxels equals a box in pixels; None if it is not known."""
    return around.voxel_binning


def _voxels(value: Any, around: Surroundings) -> int:
    if around.voxel_binning is None:
        raise NotTranslatedError("it is in voxels of a tomogram whose binning is not known")
    return int(float(value))


def _in_own_voxels(value: Any, around: Surroundings) -> int:
    """A box that is binned after extraction: our sizes are in binned pixels."""
    return round(float(value) / float(around.values.get("shrink") or 1))


_OF_TOMOGRAMS = Rule(
    inputs=("inputCoordinates", "inputCoords", "coords"),
    pieces=(
        Piece(
            "extract_particles",
            p(boxSize=("box_px", _voxels)),
            derives={"binning": _binning_of_tomogram},
        ),
    ),
    quiet={
        "tomoSource": None,  # particles are extracted from the images, at their positions in the tomogram
        "inputTomograms": None,
        "inputTomos": None,
        "tomograms": None,
        "doInvert": None,
        "invertContrast": None,
        "doNormalize": None,
        "normproc": None,
        "dowsamplingFactor": 1.0,
    },
    why={"dowsamplingFactor": "set binning of extract_particles"},
)

_OF_IMAGES_OF_EMAN = Rule(
    inputs=("inputSubtomos",),
    roles={"inputTS": "series_from"},
    ctf="inputCTF",
    pieces=(
        Piece("assign_series", for_roles=True),
        Piece(
            "clean_particles",
            p(minDist="min_distance_angstrom"),
            {"min_seen_fraction": 0.0},
            when=lambda values: float(values.get("minDist") or 0) > 0,
        ),
        Piece("extract_particles", p(boxSize=("box_px", _in_own_voxels), shrink="binning")),
    ),
    quiet={
        "minDist": None,
        "doFlipZInTomo": None,  # import_coordinates has flip_z
        "maxTilt": 100,
        "tltKeep": 1.0,
        "rmThr": -1.0,
        "paddingFactor": None,
    },
    why={
        "maxTilt": "set max_tilt_deg of select_tilts",
        "tltKeep": "tilts are weighted by their dose and figures",
        "rmThr": "put erase_beads before it",
    },
)


def _if_positive(value: Any, around: Surroundings) -> Any:
    if float(value) < 0:
        raise NotTranslatedError("no prior is requested")
    return value


_SAMPLING_DEG = one_of(30.0, 15.0, 7.5, 3.7, 1.8, 0.9, 0.5, 0.2, 0.1)
"""RELION's angular steps, by their position in the list of Scipion's form."""
_ALL_REFINEMENTS = p(
    symmetry=("symmetry", point_group), sym=("symmetry", point_group), maskDiameter="diameter_angstrom"
)
_ASYMMETRIC = ("C1", "c1")
_RELION_QUIET = {
    "doCTF": True,
    "ignoreCTFUntilFirstPeak": False,
    "oversampling": 1,
    "extraParams": None,
    "priorWidthTiltAngle": -1,
    "regularisation": None,
    "isMapAbsoluteGreyScale": True,
    "doResizeRef": True,
    "zeroMask": True,
    "flattenSolvent": True,
    "solventCorrectFSC": False,
    "doBlushReg": False,
    "useFinerAngularSampling": False,
    "skipPadding": False,
    "relaxSym": None,
    "useFastSubsets": None,
    "limitResolutionEStepTo": -1.0,
    "doImageAlignment": False,
    "doLocalAngleSearch": None,
    "localAngularSearchRange": None,
    "allowCoarser": None,
}
_RELION_WHY = {
    "offsetSearchRangePix": "the search of positions is given in angstrom: set shift_range_angstrom",
    "offsetSearchStepPix": "positions are found between the pixels",
    "angularSamplingDeg": "the step between orientations follows from the resolution",
    "localSearchAutoSampling": "the step between orientations follows from the resolution",
    "initialLowPassFilterA": "the resolution that classes are compared at is resolution_angstrom",
    "priorWidthTiltAngle": "the step uses the directions of the picks as they are",
    "nVdamMiniBatches": "belongs to RELION's algorithm; starts is the number of first guesses here",
    "limitResolutionEStepTo": "set resolution_angstrom",
    "doImageAlignment": "classes are compared at the poses that were refined",
    "solventMask": "the mask follows from the diameter and the map",
    "extraParams": OPTIONS,
}
_INITIAL_MODEL = Rule(
    inputs=("inReParticles", "particles"),
    pieces=(Piece("initial_model", _ALL_REFINEMENTS),),
    quiet={**_RELION_QUIET, "numberOfClasses": 1, "doInC1AndApplySymLater": None},
    why={
        **_RELION_WHY,
        "numberOfClasses": "one model is made; classify separates particles",
        "reference": "a model is made from the particles alone; refine takes a reference",
    },
)

_REFINE = Rule(
    inputs=("inReParticles", "inputVolumes"),
    roles={"referenceVolume": "reference_from", "solventMask": "mask_from", "templateRef": "reference_from"},
    pieces=(
        Piece(
            "refine",
            {
                **_ALL_REFINEMENTS,
                **p(
                    angularSamplingDeg=("angular_step_deg", _SAMPLING_DEG),
                    priorWidthTiltAngle=("tilt_prior_deg", _if_positive),
                    initialLowPassFilterA="initial_lowpass_angstrom",
                ),
            },
        ),
    ),
    quiet=_RELION_QUIET,
    why=_RELION_WHY,
)

_CLASSIFY = replace(
    _REFINE,
    pieces=(
        Piece(
            "classify",
            p(maskDiameter="diameter_angstrom", numberOfClasses="n_classes", nIterations="max_iterations"),
        ),
    ),
    quiet={**_RELION_QUIET, "symmetry": _ASYMMETRIC},
    why={
        **_RELION_WHY,
        "symmetry": "particles keep the symmetry they were refined with",
        "referenceVolume": "classes start from the particles; set references to start from maps",
    },
    roles={},
    defaults={"numberOfClasses": 1},
)

_RECONSTRUCT_PARTICLE = Rule(
    inputs=("inReParticles", "inputSetOfSubTomogram"),
    pieces=(
        Piece(
            "reconstruct_particle",
            p(symmetry=("symmetry", point_group), symmetryGroup=("symmetry", point_group)),
        ),
    ),
    quiet={
        "snrWiener": 0,
        "pad": None,
        "maxRes": -1.0,
        "subset": 0,
        "classNum": -1,
        "msWedge": None,
        "skipPostProc": None,
        "impRotMasking": None,
        "randomizeOrientation": False,
    },
    why={
        "binningFactor": "the pixel is that of the images the particles were extracted from",
        "boxSize": "the box is that of extract_particles",
        "croppedBoxSize": "the box is that of extract_particles",
        "snrWiener": "the weights follow from the halves",
        "maxRes": "set finest_resolution_angstrom",
        "subset": "halves are kept with the map",
        "classNum": "classify passes the particles of chosen classes on",
        "solventMask": "the mask follows from the diameter and the map",
        "randomizeOrientation": "initial_model begins with random orientations",
        "extraParams": OPTIONS,
    },
)


def _negative(value: Any, around: Surroundings) -> float:
    """RELION's B-factor is negative for sharpening, ours is positive."""
    return -float(value)


def _if_mtf(value: Any, around: Surroundings) -> Any:
    if not around.values.get("mtf"):
        raise NotTranslatedError("no modulation transfer is given")
    return value


_POSTPROCESS = Rule(
    inputs=("inVolume",),
    pieces=(
        Piece(
            "postprocess",
            p(
                userBFactor=("b_factor_angstrom2", only_if("useOwnBFactor", True, _negative)),
                adHocLowPassFilter=("lowpass_angstrom", only_if("skipFscWeight", True, same)),
                mtf="mtf",
                origDetectorPixSize=("mtf_pixel_angstrom", _if_mtf),
            ),
        ),
    ),
    quiet={
        "calPixSize": -1.0,
        "estimateBFactor": None,
        "lowestResBFit": 10.0,
        "useOwnBFactor": None,
        "userBFactor": None,
        "skipFscWeight": None,
        "adHocLowPassFilter": None,
        "mtf": None,
        "origDetectorPixSize": None,
        "solventMask": None,  # the mask is made from the map
        "extraParams": None,
    },
    why={"lowestResBFit": "the fit begins at 10 A"},
)


_FIRST_MODEL_OF_EMAN = Rule(
    inputs=("inputSubtomos", "particles"),
    pieces=(
        Piece(
            "initial_model",
            {**_ALL_REFINEMENTS, **p(targetRes="resolution_angstrom")},
        ),
    ),
    quiet={"nClasses": 1, "keptParticles": 1.0, "shrink": None, "applySim": None, "fourier": None},
    why={
        **dict.fromkeys(
            [
                *("nIters", "batchSize", "learningRate", "numberOfIterations", "numberOfBatches", "filterto"),
                "keptParticles",
            ],
            "belongs to EMAN's algorithm; starts is the number of first guesses here",
        ),
        "nClasses": "one model is made; classify separates particles",
        "refVol": "a model is made from the particles alone; refine takes a reference",
        "reference": "a model is made from the particles alone; refine takes a reference",
        "mask": "the mask follows from the diameter and the map",
    },
)

_EMAN = "belongs to EMAN's algorithm"
_REFINE_OF_EMAN = Rule(
    inputs=("inputSubtomos",),
    roles={"refVol": "reference_from"},
    pieces=(
        Piece(
            "refine",
            {
                **_ALL_REFINEMENTS,
                **p(
                    startRes="initial_lowpass_angstrom",
                    maxResAli=("finest_resolution_angstrom", if_positive),
                ),
            },
        ),
    ),
    quiet={"doLocalRefine": False, "maxAng": None, "maxShift": -1, "maxResAli": None, "minResAli": 0.0},
    why={
        "iters": "p, the orientations of particles, is refine; t, r and d, the tilts, are refine_series",
        "pkeep": "particles count by their probability",
        "topHat": "maps are filtered by the agreement of their halves",
        "doLocalRefine": "set shift_range_angstrom and tilt_prior_deg for a search near the poses",
        "maxShift": "set shift_range_angstrom",
        "minResAli": "all resolutions from the coarsest on are compared",
        "smooth": "the motion of tilts belongs to refine_series",
        "smoothN": "the motion of tilts belongs to refine_series",
        "extraParams": OPTIONS,
    },
    counts_if={"maxAng": lambda values: bool(values.get("doLocalRefine"))},
)

_OLDER_REFINE_OF_EMAN = Rule(
    inputs=("inputSetOfSubTomogram",),
    roles={"inputRef": "reference_from"},
    pieces=(Piece("refine", {**_ALL_REFINEMENTS, **p(niter="max_iterations")}),),
    quiet={"mass": -1.0, "goldstandard": None, "goldcontinue": False, "useAlign": True, "maxtilt": 90.0},
    why={
        "mass": "grey values are not scaled by a mass",
        "pkeep": "particles count by their probability",
        "localfilter": "postprocess measures the local resolution",
        "maxtilt": "set max_tilt_deg of select_tilts",
        "maxAng": "the range of orientations follows from the directions of the picks: set tilt_prior_deg",
        "useAlign": "initial_model finds orientations from nothing",
        "setsf": "maps are not scaled by a structure factor",
        "maskFile": "the mask follows from the diameter and the map",
        "extraParams": OPTIONS,
    },
    counts_if={"maxAng": lambda values: bool(values.get("useAlign", True))},
)

_CLASSIFY_OF_EMAN = Rule(
    inputs=("inputSubtomos",),
    pieces=(
        Piece(
            "classify",
            p(
                nClasses=("n_classes", if_positive),
                maxRes=("resolution_angstrom", if_positive),
                nIter="max_iterations",
            ),
        ),
    ),
    quiet={
        "symmetry": _ASYMMETRIC,
        "nClasses": None,
        "maxRes": None,
        "minRes": 0.0,
        "doAlignment": False,
        "maxAng": None,
        "maxShift": None,
    },
    why={
        "symmetry": "particles keep the symmetry they were refined with",
        "minRes": "all resolutions from the coarsest on are compared",
        "breakSym": "particles keep the symmetry they were refined with",
        "refVol": "classes start from the particles; set references to start from maps",
        "doAlignment": "classes are compared at the poses that were refined",
        "maskRef": "set focus of classify",
        "maskAlign": "classes are compared at the poses that were refined",
        "extraParams": OPTIONS,
    },
)

_CLASSIFY_OF_XMIPP = Rule(
    inputs=("inputVolumes",),
    pieces=(Piece("classify", p(numberOfReferences="n_classes", numberOfIterations="max_iterations")),),
    quiet={
        "symmetry": _ASYMMETRIC,
        "generateAligned": None,
        "align": None,
        "doGenerateInitial": True,
        "numberOfReferences0": None,
        "randomizeOrientation": False,
    },
    why={
        "symmetry": "particles keep the symmetry they were refined with",
        "referenceList": "classes start from the particles; set references to start from maps",
        "inputMask": "set focus of classify",
        "doGenerateInitial": "classes start from the particles",
        "randomizeOrientation": "initial_model begins with random orientations",
        "maximumResolution": "it is in 1/pixel: set resolution_angstrom",
        **dict.fromkeys(
            [
                *("sparsity", "dwtSparsity", "maxRot", "maxTilt", "maxPsi"),
                *("maxShiftX", "maxShiftY", "maxShiftZ"),
            ],
            "belongs to Xmipp's algorithm",
        ),
    },
    defaults={"numberOfReferences": 3},
)

_DYNAMO_REFINE = Rule(
    inputs=("inputVolumes",),
    roles={"templateRef": "reference_from"},
    pieces=(Piece("refine", _ALL_REFINEMENTS),),
    quiet={"generateTemplate": None, "nref": 1, "alignMask": None},
    why={
        "mra": "one map is refined; classify separates particles",
        "nref": "one map is refined; classify separates particles",
        "numberOfIters": "passes end when the map no longer changes: max_iterations limits them",
        "low": "it is in Fourier pixels: set initial_lowpass_angstrom",
        "lim": "the search of positions is given in angstrom: set shift_range_angstrom",
        **dict.fromkeys(
            ["alignMask", "fmask", "smask", "cmask"], "the mask follows from the diameter and the map"
        ),
        "separation": "clean_particles leaves out particles that are too close",
        **dict.fromkeys(
            [
                *("dim", "cr", "cs", "cf", "inplane_range", "inplane_sampling", "inplane_flip", "rf", "rff"),
                *("limm", "threshold", "thresholdMode", "threshold2", "thresholdMode2", "high", "ccms"),
            ],
            "belongs to Dynamo's algorithm",
        ),
    },
)

_REFINE_DEFOCUS = Rule(
    inputs=("inReParticles",),
    roles={"recVolume": "average_from"},
    pieces=(
        Piece(
            "refine_series",
            p(
                refineDefocus="defocus",
                defocusRange="max_defocus_change_angstrom",
                refineContrast="amplitudes",
            ),
            {"stage_angles": False, "magnification": False, "warp_controls": 0},
        ),
    ),
    quiet={
        "doDefocusReg": None,
        "regParam": None,
        "refineScalePerFrame": True,
        "refineScalePerTomo": False,
    },
    why={
        "boxSize": "the box follows from the diameter and the defocus",
        "inRefMask": "the mask follows from the diameter and the map",
        "inFsc": "the resolution is that of the average",
        "refineScalePerFrame": "amplitudes are measured for every tilt",
        "refineScalePerTomo": "amplitudes are measured for every tilt",
        "extraParams": OPTIONS,
    },
    counts_if={"defocusRange": lambda values: bool(values.get("refineDefocus", True))},
)

_REFINE_GEOMETRY = Rule(
    inputs=("inReParticles",),
    roles={"recVolume": "average_from"},
    pieces=(
        Piece(
            "refine_series",
            derives={
                "stage_angles": lambda around: not around.values.get("alignByShift"),
                "magnification": lambda around: not around.values.get("alignByShift"),
            },
            sets={"defocus": False},
        ),
    ),
    quiet={
        "alignByShift": None,
        "alignmentModel": 0,
        "fitPerParticleMotion": False,
        "sigmaVel": None,
        "sigmaDiv": None,
        "doGaussianDecay": None,
    },
    why={
        "boxSize": "the box follows from the diameter and the defocus",
        "maxPosErr": "it is in pixels of the images: set max_shift_angstrom",
        "alignmentModel": "tilts are aligned; refine moves particles",
        "fitPerParticleMotion": "tilts are warped instead: set warp_controls of refine_series",
        "inRefMask": "the mask follows from the diameter and the map",
        "inFsc": "the resolution is that of the average",
        "extraParams": OPTIONS,
    },
)


def _control_grid(value: Any, around: Surroundings) -> int:
    """Number of points along one side of a grid such as 3x3."""
    return int(str(value).lower().split("x")[0])


_REFINE_BY_M = Rule(
    inputs=("inReParticles", "inputToMProtocol"),
    roles={"averageSubtomogram": "average_from"},
    pieces=(
        Piece(
            "refine_series",
            p(
                refine_stageangles="stage_angles",
                refine_mag="magnification",
                refine_imagewarp=("warp_controls", _control_grid),
                ctf_defocus="defocus",
            ),
        ),
    ),
    quiet={
        "inputFromMProtocol": None,
        "inputSet": None,
        "inputSetOfCtfTomoSeries": None,
        "diameter": None,
        "temporal_samples": 1,
        "ctf_defocusexhaustive": None,
        "ctf_phase": False,
        "ctf_cs": False,
    },
    why={
        "symmetry": "particles keep the symmetry they were refined with",
        "refMask": "the mask follows from the diameter and the map",
        "refine_particles": "refine moves particles: put it before and after refine_series",
        "iter": "set rounds of refine_series",
        "temporal_samples": "particles do not move between the tilts",
        "angpix_resample": "the pixel follows from the resolution",
        "lowpass": "set finest_resolution_angstrom",
    },
)

_EXTRACT_OF_WARP = Rule(
    inputs=("coordinates",),
    roles={"inputSet": "series_from"},
    ctf="inputSetOfCtfTomoSeries",
    pieces=(
        Piece("assign_series", for_roles=True),
        Piece(
            "extract_particles",
            p(
                box="box_px",
                diameter="diameter_angstrom",
                writeStacks=("output", one_of("stacks", "volumes")),
            ),
        ),
    ),
    why={"output_angpix": "set binning of extract_particles: pixels of the images, not angstrom"},
)

_BY_NAME = "items are chosen by name or figure here: set names or where of select_items"

PARTICLE_RULES: dict[str, Rule] = {
    "ProtRelionPrepareData": Rule(  # poses and CTF travel with the series
        inputs=("inputCoords",),
        quiet=dict.fromkeys(
            ["inputCtfTs", "handeness", "inputTS", "flipZCoords", "flipYZ", "flipZ", "swapXY"]
        ),
    ),
    "ProtRelionEditParticlesStar": Rule(
        inputs=("inReParticles",),
        pieces=(
            Piece(
                "clean_particles",
                p(minDistPartRemoval="min_distance_angstrom"),
                {"min_seen_fraction": 0.0},
                when=lambda values: bool(values.get("doRemoveDuplicates")),
            ),
        ),
        quiet={
            "doRecenter": False,
            "shiftX": 0.0,
            "shiftY": 0.0,
            "shiftZ": 0.0,
            "doRemoveDuplicates": None,
            "minDistPartRemoval": None,
        },
        why=dict.fromkeys(
            ["doRecenter", "shiftX", "shiftY", "shiftZ", "averageSubTomogram", "refMask"],
            "refine moves the centres of particles",
        ),
    ),
    "ProtRelionMakePseudoSubtomograms": _EXTRACT,
    "ProtRelionReconstructParticle": _RECONSTRUCT_PARTICLE,
    "ProtRelionSubTomoReconstructAvg": replace(
        _RECONSTRUCT_PARTICLE, inputs=("inputSubtomos", *_RECONSTRUCT_PARTICLE.inputs)
    ),
    "ProtRelion3DClassifySubtomograms": _CLASSIFY,
    "EmanProtTomoRefinement": _OLDER_REFINE_OF_EMAN,
    "EmanProtTomoRefinementNew": _REFINE_OF_EMAN,
    "EmanProtMultiRefinementNew": _CLASSIFY_OF_EMAN,
    "XmippProtCLTomo": _CLASSIFY_OF_XMIPP,
    "ProtRelionCtfRefine": _REFINE_DEFOCUS,
    "ProtRelionTomoFrameAlign": _REFINE_GEOMETRY,
    "ProtWarpMHigResolutionRefinement": _REFINE_BY_M,
    "ProtWarpExportParticles": _EXTRACT_OF_WARP,
    "ProtSusanMRA": Rule(
        inputs=("inputSetOfSubTomograms", "inputSubstacks"),
        roles={"inputRefs": "reference_from"},
        pieces=(Piece("refine", {**_ALL_REFINEMENTS, **p(numberOfIters="max_iterations")}),),
        why=dict.fromkeys(
            [
                *("inputMasks", "boxSize", "tomoSize", "alignType", "ctfCorrAln", "ctfCorrAvg", "reuseRefs"),
                *("randomizeAngles", "coneRange", "coneSampling", "inplaneRange", "inplaneSampling"),
                *("refine", "refineFactor", "autoStep", "rangeFactor", "incLowpass", "applyFOM", "applyL0"),
                *("allowDrift", "offsetRange", "offsetStep", "low", "high", "rolloff", "norm", "padding"),
                *("doHalfSets", "threshold", "inputTiltSeries", "doContinue"),
            ],
            "belongs to SUSAN's algorithm: see refine",
        ),
    ),
    "ProtSusanAverage": replace(
        _RECONSTRUCT_PARTICLE,
        inputs=("inputSetOfSubTomograms", "inputSubstacks"),
        pieces=(Piece("reconstruct_particle", p(sym=("symmetry", point_group))),),
        why={
            **_RECONSTRUCT_PARTICLE.why,
            **dict.fromkeys(
                [
                    *("tomoSize", "ctfCorrAvg", "norm", "padding", "doHalfSets", "threshold", "doContinue"),
                    "inputTiltSeries",
                ],
                "belongs to SUSAN's algorithm: see reconstruct_particle",
            ),
        },
    ),
    "XmippProtSubtomoMapBack": Rule(
        inputs=("inputClasses", "inputSubtomos"),
        roles={"inputRef": "average_from"},
        pieces=(Piece("map_back", p(removeBackground="masked")),),
        quiet={"selection": None, "inputTomograms": None, "invertContrast": None, "threshold": None},
        why=dict.fromkeys(["paintingType", "constant"], "the volume overlaps the tomogram in any viewer"),
    ),
    "XmippProtSubtractionSubtomo": Rule(
        inputs=("inputSubtomos",),
        roles={"average": "average_from"},
        pieces=(Piece("subtract_signal"),),
        quiet={"maskBool": None},
        why={
            "mask": "set mask of subtract_signal",
            "maskSub": "set mask of subtract_signal",
            **dict.fromkeys(
                ["resol", "sigma", "iter", "rfactor"],
                "the amplitude of the average in the images is measured",
            ),
        },
    ),
    "ProtClassesSelector": Rule(
        inputs=("inputClasses",),
        why=dict.fromkeys(
            ["extractRepresentative", "firstNElements"], "set keep of classify to the numbers of the classes"
        ),
    ),
    "ProtRelion5ExtractSubtomos": _EXTRACT,
    "EmanProtTomoExtraction": _OF_TOMOGRAMS,
    "DynamoExtraction": _OF_TOMOGRAMS,
    "XmippProtExtractSubtomos": _OF_TOMOGRAMS,
    "EmanProtTSExtraction": _OF_IMAGES_OF_EMAN,
    "ProtRelionDeNovoInitialModel": _INITIAL_MODEL,
    "EmanProtTomoInitialModel": _FIRST_MODEL_OF_EMAN,
    "EmanProtTomoInitialModelNew": _FIRST_MODEL_OF_EMAN,
    "ProtRelionRefineSubtomograms": _REFINE,
    "DynamoSubTomoMRA": _DYNAMO_REFINE,
    "ProtRelion5ReconstructParticle": _RECONSTRUCT_PARTICLE,
    "ProtRelionPostProcess": _POSTPROCESS,
    "EmanProtSubTomoAverage": _RECONSTRUCT_PARTICLE,
    "DynamoProtAvgSubtomograms": replace(_RECONSTRUCT_PARTICLE, inputs=("inSubtomos",)),
    "XmippProtHalfMapsSubtomo": replace(_RECONSTRUCT_PARTICLE, inputs=("inputSubtomograms",)),
    "ProtSubSet": Rule(
        inputs=("inputFullSet",),
        roles={},
        pieces=(Piece("select_items"),),
        quiet={"chooseAtRandom": False, "selectIds": None, "setOperation": 0, "nElements": None},
        why={
            "range": _BY_NAME,
            "inputSubSet": _BY_NAME,
            "chooseAtRandom": _BY_NAME,
            "nElements": _BY_NAME,
        },
        counts_if={
            "range": lambda values: bool(values.get("selectIds", True)),
            "nElements": lambda values: bool(values.get("chooseAtRandom")),
        },
    ),
    "ProtUserSubSet": Rule(
        inputs=("inputObject",),
        pieces=(Piece("select_items"),),
        quiet={"other": None, "outputClassName": None},
        why={"sqliteFile": _BY_NAME},
    ),
    "ProtSetFilter": Rule(
        inputs=("inputSet",),
        pieces=(Piece("select_items"),),
        quiet={"operation": 0, "keepFirst": None},
        why=dict.fromkeys(["operation", "formula", "distance", "threshold", "rankingField"], _BY_NAME),
        counts_if={
            "formula": lambda values: not values.get("operation"),
            "distance": lambda values: values.get("operation") in (1, 2),
            "threshold": lambda values: values.get("operation") == 3,
            "rankingField": lambda values: values.get("operation") == 3,
        },
    ),
    "ProtCrossSubSet": Rule(
        inputs=("mainSet",),
        pieces=(Piece("select_items"),),
        quiet={"mainSetField": None, "secSetField": None},
        why={"secSet": _BY_NAME},
    ),
}
