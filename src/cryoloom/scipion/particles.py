"""Scipion's protocols of picks, particles and averages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryoloom.scipion.rule import (
    NotTranslatedError,
    Piece,
    Rule,
    Surroundings,
    one_of,
    only_if,
    p,
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
    quiet={
        "handedness": None,
        "tomoSource": 0,
        "doInvert": None,
        "doNormalize": None,
        "normproc": None,
    },
    why={"handedness": "it is measured by estimate_ctf"},
)


def _if_positive(value: Any, around: Surroundings) -> Any:
    if float(value) < 0:
        raise NotTranslatedError("no prior is requested")
    return value


_SAMPLING_DEG = one_of(30.0, 15.0, 7.5, 3.7, 1.8, 0.9, 0.5, 0.2, 0.1)
"""RELION's list of angular steps, by its position in Scipion's form."""
_ALL_REFINEMENTS = p(symmetry="symmetry", sym="symmetry", maskDiameter="diameter_angstrom")
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
}
_RELION_WHY = {
    "offsetSearchRangePix": "the search of positions is given in angstrom: set shift_range_angstrom",
    "offsetSearchStepPix": "positions are found between the pixels",
    "angularSamplingDeg": "the step between orientations follows from the resolution",
    "localSearchAutoSampling": "the step between orientations follows from the resolution",
    "initialLowPassFilterA": "the resolution that classes are compared at is resolution_angstrom",
    "priorWidthTiltAngle": "the step uses the directions of the picks as they are",
}
_INITIAL_MODEL = Rule(
    inputs=("inReParticles", "particles"),
    pieces=(Piece("initial_model", _ALL_REFINEMENTS),),
    quiet={**_RELION_QUIET, "numberOfClasses": 1, "doInC1AndApplySymLater": None},
    why={
        **_RELION_WHY,
        "nVdamMiniBatches": "belongs to RELION's algorithm; starts is the number of first guesses here",
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
    why={**_RELION_WHY, "symmetry": "particles keep the symmetry they were refined with"},
)

_RECONSTRUCT_PARTICLE = Rule(
    inputs=("inReParticles", "inputSetOfSubTomogram"),
    pieces=(Piece("reconstruct_particle", p(symmetry="symmetry")),),
    quiet={"snrWiener": 0},
    why={
        "binningFactor": "the pixel is that of the images the particles were extracted from",
        "boxSize": "the box is that of extract_particles",
        "croppedBoxSize": "the box is that of extract_particles",
        "snrWiener": "the weights follow from the halves",
    },
)


def _negative(value: Any, around: Surroundings) -> float:
    """RELION's B-factor is negative where it sharpens, ours positive."""
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
        "solventMask": None,  # the mask is found from the map
        "extraParams": None,
    },
    why={"lowestResBFit": "the fit begins at 10 A"},
)

_IMPORTED_PICKS = Rule(
    inputs=("importTomograms", "inputTomograms", "inputSetOfTomograms", "inTomos"),
    pieces=(Piece("import_coordinates", p(filesPath="file", sqliteFile="file", boxSize="box_px")),),
)

PARTICLE_RULES: dict[str, Rule] = {
    "EmanProtTomoBoxing": Rule(
        inputs=("inputTomograms",), pieces=(Piece("pick_by_hand", p(boxSize="box_px")),)
    ),
    "EmanProtTomoConvNet": Rule(
        inputs=("inputTomograms",),
        pieces=(Piece("import_coordinates", p(boxSize="box_px")),),
        why=dict.fromkeys(["inputModelFrom", "inputModel"], "pick outside and import the coordinates"),
    ),
    "ProtTomoPickingRemoveDuplicates": Rule(
        inputs=("inputCoordinates",),
        pieces=(),
        why={"consensusRadius": "extract_particles and clean_particles remove picks that are too close"},
    ),
    "ProtRelionPrepareData": Rule(inputs=("inputCoords",), pieces=()),  # poses and CTF travel with the series
    "ProtRelionEditParticlesStar": Rule(
        inputs=("inReParticles",), pieces=(), why={"doRecenter": "refine moves the centres of particles"}
    ),
    "ProtRelionMakePseudoSubtomograms": _EXTRACT,
    "ProtRelionReconstructParticle": _RECONSTRUCT_PARTICLE,
    "ProtRelionSubTomoReconstructAvg": replace(
        _RECONSTRUCT_PARTICLE, inputs=("inputSubtomos", *_RECONSTRUCT_PARTICLE.inputs)
    ),
    "ProtRelion3DClassifySubtomograms": _CLASSIFY,
    "EmanProtTomoRefinement": replace(
        _REFINE,
        inputs=("inputSetOfSubTomogram", *_REFINE.inputs),
        roles={**_REFINE.roles, "inputRef": "reference_from", "maskFile": "mask_from"},
    ),
    "ProtClassesSelector": Rule(inputs=("inputClasses",), pieces=(Piece("select_items"),)),
    "DynamoBoxing": Rule(inputs=("inputTomograms",), pieces=(Piece("pick_by_hand", p(boxSize="box_px")),)),
    "DynamoModelWorkflow": Rule(
        inputs=("inputMeshes",),
        pieces=(
            Piece(
                "pick_on_surfaces",
                p(boxSize="box_px", meshParameter="mesh_px", cropping="spacing_px", maxTr="max_triangles"),
            ),
        ),
        quiet={"doRefineMesh": False, "subDivision": None},
    ),
    "EmanProtTemplateMatching": Rule(
        inputs=("inputTomograms",),
        pieces=(
            Piece(
                "pick_by_template", p(nptcl="max_particles", delta="angular_step_deg", symmetry="symmetry")
            ),
        ),
        why={"refVol": "give the template's file"},
    ),
    "ProtWarpTSTemplateMatch": Rule(
        inputs=("inputSet", "inputTomograms"),
        pieces=(
            Piece(
                "pick_by_template",
                p(
                    symmetry="symmetry",
                    template_diameter="diameter_angstrom",
                    npeaks="max_particles",
                    peak_distance="min_distance_angstrom",
                ),
            ),
        ),
        why={"templateVolume": "give the template's file"},
    ),
    "ProtImportCoordinates3DFromScipion": _IMPORTED_PICKS,
    "ProtImportCoordinates3D": _IMPORTED_PICKS,
    "ProtImportCoordinates3DFromStar": _IMPORTED_PICKS,
    "SphireProtCRYOLOTomoPicking": Rule(
        inputs=("inputTomograms",),
        pieces=(Piece("import_coordinates", p(boxSize="box_px")),),
        why=dict.fromkeys(
            ["inputModelFrom", "conservPickVar", "absCutOffFreq", "input_size", "max_box_per_image"],
            "pick with crYOLO outside and import its coordinates",
        ),
        quiet=dict.fromkeys(
            [
                "lowPassFilter",
                "searchRange",
                "minLength",
                "doFilament",
                "box_distance",
                "straightness_method",
                "straightness_threshold",
                "search_range_factor",
                "angle_delta",
                "directional_method",
                "mask_width",
                "nomerging",
            ]
        ),
    ),
    "ProtRelion5ExtractSubtomos": _EXTRACT,
    "EmanProtTomoExtraction": _EXTRACT,
    "ProtRelionDeNovoInitialModel": _INITIAL_MODEL,
    "EmanProtTomoInitialModel": _INITIAL_MODEL,
    "ProtRelionRefineSubtomograms": _REFINE,
    "DynamoSubTomoMRA": _REFINE,
    "ProtRelion5ReconstructParticle": _RECONSTRUCT_PARTICLE,
    "ProtRelionPostProcess": _POSTPROCESS,
    "EmanProtSubTomoAverage": _RECONSTRUCT_PARTICLE,
    "ProtSubSet": Rule(
        inputs=("inputFullSet",),
        roles={},
        pieces=(Piece("select_items"),),
        quiet={"chooseAtRandom": False, "selectIds": None, "setOperation": 0, "nElements": None},
        why={"range": "items are chosen by name or figure here: set names or where of select_items"},
    ),
}
