"""Scipion's protocols that pick particles and surfaces, or import picks."""

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
    p,
    pixels,
    point_group,
)

__all__ = ["PICK_RULES"]


def _coordinate_file(value: Any, around: Surroundings) -> str:
    """A file, or the files in a folder whose names follow a pattern with the tomogram's name."""
    pattern = str(around.values.get("filesPattern") or "").strip()
    if not pattern:
        return str(value)
    return f"{str(value).rstrip('/')}/{pattern.replace('*', '{tomogram}', 1)}"


_IMPORTED_PICKS = Rule(
    inputs=("importTomograms", "inputTomograms", "inputSetOfTomograms", "inTomos", "inputTomos"),
    pieces=(
        Piece(
            "import_coordinates",
            p(
                filesPath=("file", _coordinate_file),
                sqliteFile="file",
                starFile="file",
                boxSize="box_px",
                samplingRate="picked_pixel_angstrom",
                importFrom=("format", one_of("auto", "text", None, "eman2", "dynamo")),
            ),
        ),
    ),
    quiet={"filesPattern": None},
    why={"importFrom": "the format is found from the file"},
)


_IMPORTED_TABLES = replace(
    _IMPORTED_PICKS,
    pieces=(
        Piece(
            "import_coordinates",
            p(filesPath=("file", _coordinate_file), samplingRate="picked_pixel_angstrom"),
            {"format": "dynamo"},
        ),
    ),
    quiet={"filesPattern": None, "importFrom": 0},
)


def _leaflets(value: Any, around: Surroundings) -> float:
    """Distance of the leaflets in angstrom. A value of one voxel has no information and is not translated."""
    if int(value) < 2:
        raise NotTranslatedError("a membrane of one voxel")
    return float(pixels(value, around))


_REMOVED_DUPLICATES = Rule(
    inputs=("inputCoordinates",),
    pieces=(
        Piece(
            "clean_particles",
            p(consensusRadius=("min_distance_angstrom", pixels)),
            {"min_seen_fraction": 0.0},
        ),
    ),
)


_SEGMENTED = Rule(
    inputs=("inTomos",),
    pieces=(
        Piece(
            "segment_membranes",
            p(mbThkPix=("thickness_angstrom", _leaflets)),
        ),
    ),
    quiet={"blackOverWhite": None, "mbThkPix": None, "sigmaS": None, "sigmaP": None},
    why={
        "mbScaleFactor": "set patch_angstrom of segment_membranes: over what radius a membrane is flat",
        "mbStrengthTh": "least_score and sure_score of segment_membranes are the thresholds",
    },
)


_TEMPLATE = "set template of pick_by_template to the file of the reference"
_THRESHOLD = "false_discovery_rate of pick_by_template is the threshold"
_OUTSIDE = "cluster outside and import the coordinates"
_MASKED = "clean_particles and select_by_distance leave out picks by their place"

_TEMPLATE_OF_WARP = Rule(
    inputs=("inputSet", "inputTomograms"),
    ctf="inputSetOfCtfTomoSeries",
    pieces=(
        Piece("reconstruct"),  # Warp searches in its own tomograms
        Piece(
            "pick_by_template",
            p(
                symmetry=("symmetry", point_group),
                template_diameter="diameter_angstrom",
                npeaks="max_particles",
                peak_distance="min_distance_angstrom",
            ),
        ),
    ),
    quiet={
        "template_flip": None,  # volumes and template have the same hand
        "tilt_range": None,
        "batch_angles": None,
        "dont_normalize": None,
        "whiten": None,
        "lowpass": 1.0,
        "lowpass_sigma": None,
        "max_missing_tilts": None,
        "reuse_results": False,
        "check_hand": None,
        "subvolume_size": None,
        "apply_score": None,
    },
    why={
        "templateVolume": _TEMPLATE,
        "subdivisions": "the angular step follows from symmetry and resolution: set angular_step_deg",
        "minimum": _THRESHOLD,
        "maximum": _THRESHOLD,
        "lowpass": "the voxel size is the low-pass: set voxel_size_angstrom of pick_by_template",
    },
)

_TEMPLATE_OF_STOPGAP = Rule(
    inputs=("inTomos",),
    part_of_next=True,
    pieces=(Piece("pick_by_template"),),
    ctf="inCtfSet",
    quiet={"inTsSet": None},
    why={"reference": _TEMPLATE, "mask": "the mask follows from the diameter"},
)


def _about_z(value: Any, around: Surroundings) -> str:
    """Point group of a rotational symmetry about z."""
    return f"C{int(value)}"


_TEMPLATE_OF_PYTOM = replace(
    _TEMPLATE_OF_STOPGAP,
    pieces=(
        Piece(
            "pick_by_template",
            p(angular_search="angular_step_deg", z_axis_rotational_symmetry=("symmetry", _about_z)),
        ),
    ),
    quiet={
        "inTsSet": None,
        "invert_contrast": None,
        "non_spherical_mask": None,
        "volume_split": None,
        "defocus_handedness": None,
        "spectral_whitening": None,
        "per_tilt_weighting": None,
        "random_phase_correction": None,
        "rng_seed": None,
    },
    why={
        **_TEMPLATE_OF_STOPGAP.why,
        **dict.fromkeys(["tomoMasks", "xmin", "xmax", "ymin", "ymax", "zmin", "zmax"], _MASKED),
        "low_pass": "the voxel size is the low-pass: set voxel_size_angstrom of pick_by_template",
        "high_pass": "the images are whitened",
        "extraParams": OPTIONS,
    },
)

_OF_TOMOTWIN = dict.fromkeys(
    [*("batchTomos", "batchRefs", "zMin", "zMax", "fitSampleSize", "chunkSize"), "doHeatMaps"]
)

PICK_RULES: dict[str, Rule] = {
    "EmanProtTomoBoxing": Rule(
        inputs=("inputTomograms",),
        pieces=(Piece("pick_by_hand", p(boxSize="box_px")),),
        quiet={"selection": 1},
        why={
            "selection": "import the coordinates and edit them in the viewer",
            "inputCoordinates": "import the coordinates and edit them in the viewer",
        },
    ),
    "XmippProtRoiIJ": Rule(inputs=("inputTomos",), pieces=(Piece("pick_by_hand"),)),
    "EmanProtTomoConvNet": Rule(
        inputs=("inputTomograms",),
        pieces=(Piece("import_coordinates", p(boxSize="box_px")),),
        why=dict.fromkeys(["inputModelFrom", "inputModel"], "pick outside and import the coordinates"),
    ),
    "ProtTomoPickingRemoveDuplicates": _REMOVED_DUPLICATES,
    "ProtTomoSegmenTV": _SEGMENTED,
    "ProtMeshFromSegmentation": Rule(
        inputs=("inputMasks",),
        quiet={"inputTomograms": None, "boxSize": None, "applyDilation": 0, "applySkeletonization": None},
        why={
            **dict.fromkeys(
                ["smoothMask", "backgroundLabel", "lowLimit", "highLimit", "applyDilation"],
                "segment_membranes gives points on the membranes already",
            ),
            "density": "set spacing_angstrom of segment_membranes",
        },
    ),
    "DynamoBoxing": Rule(inputs=("inputTomograms",), pieces=(Piece("pick_by_hand", p(boxSize="box_px")),)),
    "DynamoModelWorkflow": Rule(
        inputs=("inputMeshes",),
        pieces=(
            Piece(
                "pick_on_surfaces",
                p(
                    boxSize=("box_px", if_positive),
                    meshParameter="mesh_px",
                    cropping="spacing_px",
                    maxTr="max_triangles",
                ),
            ),
        ),
        quiet={"doRefineMesh": False, "subDivision": None, "boxSize": None},
    ),
    "EmanProtTemplateMatching": Rule(
        inputs=("inputTomograms",),
        pieces=(
            Piece(
                "pick_by_template",
                p(
                    nptcl="max_particles",
                    delta="angular_step_deg",
                    symmetry=("symmetry", point_group),
                    dthr=("min_distance_angstrom", if_positive),
                ),
            ),
        ),
        quiet={"dthr": None, "minvol": -1, "maxvol": -1, "rmedge": None, "rmgold": None},
        why={
            "refVol": _TEMPLATE,
            "vthr": _THRESHOLD,
            "minvol": "peaks are judged by their score, not by their volume",
            "maxvol": "peaks are judged by their score, not by their volume",
        },
    ),
    "ProtWarpTSTemplateMatch": _TEMPLATE_OF_WARP,
    "ProtGapStopTemplateMatching": _TEMPLATE_OF_STOPGAP,
    "ProtGapStopExtractCoords": Rule(
        inputs=("inScoreTomos",),
        pieces=(
            Piece(
                "pick_by_template",
                p(partDiameter=("diameter_angstrom", pixels), numberOfCoords=("max_particles", if_positive)),
            ),
        ),
        quiet={"numberOfCoords": -1},
        why={"percentile": _THRESHOLD},
    ),
    "ProtPytomTemplateMatching": _TEMPLATE_OF_PYTOM,
    "ProtPytomExtractCoordinates": Rule(
        inputs=("inTmProtocol",),
        pieces=(
            Piece(
                "pick_by_template",
                p(particle_diameter="diameter_angstrom", number_of_particles="max_particles"),
            ),
        ),
        quiet={"mask_choice": (0, 1), "tophat_filter_con": 0},
        why={
            "number_false_positives": _THRESHOLD,
            "tophat_filter_con": "peaks are judged by their score and by decoys",
            "mask_choice": _MASKED,
            "tomoMasks": _MASKED,
            "extraParams": OPTIONS,
        },
    ),
    "ProtTomoTwinRefPicking": Rule(
        inputs=("inputTomos",),
        pieces=(Piece("pick_by_template"),),
        quiet=_OF_TOMOTWIN,
        why={
            "inputRefs": _TEMPLATE,
            "inputMasks": _MASKED,
            "boxSize": "set diameter_angstrom of pick_by_template",
            "globalMin": _THRESHOLD,
            "tolerance": "set min_distance_angstrom of pick_by_template",
        },
    ),
    "ProtTomoTwinClusterPicking": Rule(
        inputs=("inputUmaps",),
        pieces=(Piece("import_coordinates"),),
        quiet=_OF_TOMOTWIN,
        why=dict.fromkeys(
            ["boxSize", "globalMin", "tolerance"], "cluster outside and import the coordinates"
        ),
    ),
    "SphireProtCRYOLONapariTomoPicker": Rule(
        inputs=("inputTomograms",), pieces=(Piece("pick_by_hand", p(boxSize="box_px")),)
    ),
    "ProtTardisSeg": Rule(
        inputs=("inputSetOfTomograms",),
        pieces=(
            Piece("segment_membranes", when=lambda values: values.get("segmentationTarget") == 1),
            Piece(
                "trace_filaments",
                p(filamentThk="diameter_angstrom", lenFilter="min_length_angstrom"),
                when=lambda values: values.get("segmentationTarget") != 1,
            ),
        ),
        quiet={"segmentationTarget": None, "segmentationMode": None, "boxSize": None},
        why={
            "cnnThreshold": "least_score and sure_score are the thresholds",
            "distThreshold": "least_score and sure_score are the thresholds",
            "filamentDistThreshold": "set max_gap_angstrom of trace_filaments",
        },
        counts_if=dict.fromkeys(
            ["filamentThk", "lenFilter", "filamentDistThreshold"],
            lambda values: values.get("segmentationTarget") != 1,
        ),
        defaults={"segmentationTarget": 1},
    ),
    "ProtMemBrainSeg": Rule(
        inputs=("inTomograms",),
        pieces=(Piece("segment_membranes"),),
        quiet={
            "slidingWindowSize": None,
            "storeConnectedComponents": None,
            "testTimeAugmentation": None,
            "storeProbabilities": False,
            "connectedComponentsThreshold": -1,
        },
        why={
            "segmentationThreshold": "least_score and sure_score of segment_membranes are the thresholds",
            "connectedComponentsThreshold": "set min_area_angstrom2 of segment_membranes",
            "storeProbabilities": "the response of every point is kept",
            "additionalArgs": OPTIONS,
        },
    ),
    "ProtImportCoordinates3DFromScipion": _IMPORTED_PICKS,
    "ProtImportCoordinates3D": _IMPORTED_PICKS,
    "ProtImportCoordinates3DFromStar": _IMPORTED_PICKS,
    "ProtImportSubtomogramsFromStar": _IMPORTED_PICKS,
    "DynamoImportSubtomos": _IMPORTED_TABLES,
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
    "DeepFinderCluster": Rule(
        inputs=("inputSegmentations",),
        pieces=(Piece("import_coordinates"),),
        why=dict.fromkeys(["cradius", "sphericalRadius"], "cluster outside and import the coordinates"),
    ),
}
