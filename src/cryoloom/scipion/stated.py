"""Scipion's protocols that have no step, each with a sentence on its replacement.

The output of a protocol in `STATED_RULES` is its input, so that the translation continues after it. A
protocol in `NO_RULE` has an output without a counterpart, or no output that other protocols use.
"""

from __future__ import annotations

from cryoloom.scipion.rule import SERIES, Rule

__all__ = ["NO_RULE", "STATED_RULES"]


def _past(stated: str, *inputs: str, rescales: str = "") -> Rule:
    """The next protocols take the first linked one of these inputs."""
    return Rule(inputs=inputs, stated=stated, rescales=rescales)


_FILE_OF_MASK = "a mask is given as a file where it is used"
_POSES_TRAVEL = "the poses travel with the particles"
_CLEANED = "clean_particles leaves out picks by their score, place and neighbours"
_NEAR_SURFACES = "select_by_distance keeps picks by their distance to a surface"
_HALVES = "halves are made by align_frames, reconstruct and refine"
_NETWORK_PICKS = "a network's picks are imported: import_coordinates; train_picker trains one of ours"
_SURFACES = "segmentations are not imported: segment_membranes finds membranes in tomograms"
_NO_DEPTH = "tomograms are not projected: `cryoloom simulate` makes series whose truth is known"
_BEADS = "align_series, erase_beads and clean_particles find gold beads by themselves"
_PHANTOM = "`cryoloom simulate` makes movies of specimens whose truth is known"
_VIEWED = "averages and particles are shown in the viewer"
_SINGLE = "belongs to single-particle analysis"

STATED_RULES: dict[str, Rule] = {
    # Tilt series.
    "ProtInvertTiltAngles": _past(
        "the opposite axis is equivalent: add 180 degrees to tilt_axis_deg at the import", "inTsSet"
    ),
    "ProtTomoMisalignTiltSeries": _past(
        "a test of alignment programs: `cryoloom simulate` makes such series", *SERIES
    ),
    "ProtTsFromTomos": _past(
        "series whose tomogram was left out go on: leave them out with select_items before", "inTsSet"
    ),
    "ProtAssignExcludedViews": _past(
        "an exclusion is a mark that later steps keep: put select_tilts or exclude_tilts before both "
        "branches, or take exclusions with the poses (assign_poses)",
        "inputTargetTiltSeries",
    ),
    "ProtWarpDeconvTS": _past("tomograms are deconvolved, not tilt series: deconvolve", "inputTiltSeries"),
    "ProtWarpDeconvMics": _past("tomograms are deconvolved, not images: deconvolve", "inputMicrographs"),
    "CistemProtTsResample": _past(
        "the size of the images is not known here: set binning of bin_series", *SERIES, rescales="?"
    ),
    "XmippProtSplitTiltSeries": _past("set halves_by = tilts of reconstruct", *SERIES),
    "XmippProtMovieGain": _past("prepare_gain checks the gain reference with the movies", "inputMovies"),
    "ProtMovieAssignGain": _past("set gain of import_movies", "inputMovies"),
    "ProtMovieEraser": _past("movies are never deleted", "inputMovies"),
    # Tomograms.
    "ProtImodCropTomograms": _past(
        "voxels count from a corner there, and from the centre in trim_tomogram: set its thickness_angstrom, "
        "length_angstrom, width_angstrom and middle_xyz_angstrom",
        "inputSetOfTomograms",
    ),
    "XmippProtCropTomograms": _past("set the sizes of trim_tomogram", "inputSet"),
    "ProtSplitEvenOddTomoSet": _past(_HALVES, "inputSet"),
    "ProtSplitEvenOddSubtomoSet": _past(_HALVES, "inputSet", "inputSubtomos"),
    "ProtTomoApplyTomoMask": _past(_FILE_OF_MASK, "inTomoSet"),
    "XmippProtApplySegmentation": _past(_FILE_OF_MASK, "inputSetOfTomograms"),
    "ProtImportTomomasks": _past(_SURFACES, "inputTomos"),
    "ProtResizeSegmentedVolume": _past("points on membranes have no voxels", "inTomoMasks"),
    "ProtAnnotateMembranes": _past(
        "membranes are numbered and shown in the viewer, where they can be deselected", "inputTomoMasks"
    ),
    "XmippProtDeepDetectMisalignment": _past(
        "tomograms are chosen by the figures of their alignment: set where of select_items",
        "inputSetOfTomograms",
        "inputSetOfCoordinates",
    ),
    # Picks and particles.
    "ProtTomoExtractCoords": _past(_POSES_TRAVEL, "inputSubTomos"),
    "ProtTomoExportRe5Coords": _past(_POSES_TRAVEL, "inputSubTomos"),
    "Prot2DParticlesToSubtomograms": _past(
        "particles are chosen by classify, not by classes of their projections", "inputSubtomogramSet"
    ),
    "ProtMaskCoordinates": _past(_NEAR_SURFACES, "inputCoordinates"),
    "XmippProtCCroi": _past(_NEAR_SURFACES, "inputCoordinates"),
    "XmippProtConnectedComponents": _past(
        "picks keep the number of their surface; clean_particles leaves out lonely ones", "inputCoordinates"
    ),
    "XmippProtScoreCoordinates": _past(_CLEANED, "inputCoordinates"),
    "ProtTomoScoreCoordinates": _past(_CLEANED, "inputCoordinates"),
    "XmippProtFilterCoordinatesByMap": _past(_CLEANED, "inputCoordinates"),
    "XmippProtFilterbyNormal": _past(
        "particles on a surface have its normal as prior, and most_normal_z limits it: pick_on_surfaces",
        "inputCoordinates",
        "inputSubtomos",
    ),
    "XmippProtFitEllipsoid": _past("surfaces are fitted by pick_on_surfaces", "inputCoordinates", "input"),
    "ProtTomoConsensusPicking": _past(
        "picks of several methods are not joined: the first are taken", "inputCoordinates"
    ),
    "XmippProtApplyTransformSubtomo": _past(_POSES_TRAVEL, "inputSubtomograms"),
    "XmippProtAlignTransform": _past("refine brings particles to one reference", "secondSubtomos"),
    "ProtProjectCoordinates": _past("`cryoloom view` shows particles in the tilt images", "inputTiltSeries"),
    "TomovizProtFilterbyNormal": _past(
        "particles on a surface have its normal as prior, and most_normal_z limits it: pick_on_surfaces",
        "input",
    ),
    "ProtSusanSubset": _past("particles are chosen by classify and clean_particles", "inputSubstacks"),
    "ProtPySegPostRecParticles": _past("particles on membranes keep their direction", "inputSubtomos"),
    # Segmentations and networks.
    "ProtMemBrainSkeletonize": _past("segment_membranes gives points in their middle", "inTomoMasks"),
    "ProtTomoTwinClusterCreateUmaps": _past(_NETWORK_PICKS, "inputTomos"),
    # Sets of any kind.
    "ProtUnionSet": _past("sets are not joined: the first is taken", "inputSets"),
    "ProtSplitSet": _past("sets are not split: items are chosen with select_items", "inputSet"),
    "ProtSetEditor": _past("values are not edited by a formula", "inputSet"),
    # DeepFinder has picks as input and output.
    "DeepFinderSegment": _past(_NETWORK_PICKS, "inputTomograms"),
}

NO_RULE: dict[str, str] = {
    "ProtRelionCreateMask3D": "postprocess finds its mask from the map",
    "XmippProtCreateMask3D": "postprocess finds its mask from the map",
    "XmippProtMonoRes": "postprocess measures the local resolution",
    "XmippProtFSO": "postprocess measures the resolution by direction",
    "XmippProtLocSharp": "no step for local sharpening is planned yet",
    "XmippProtCropResizeVolumes": "volumes are scaled where they are used",
    "ProtCropResizeVols": "volumes are scaled where they are used",
    "ProtImportVolumes": "a reference or template is given as a file",
    "DeepFinderGenerateTrainingTargetsSpheres": _NETWORK_PICKS,
    "DeepFinderTrain": _NETWORK_PICKS,
    "ProtDeepFinderLoadTrainingModel": _NETWORK_PICKS,
    "SphireProtCRYOLOTomoTraining": _NETWORK_PICKS,
    "SphireProtCryoloImport": _NETWORK_PICKS,
    "ProtTomoTwinCreateMasks": _FILE_OF_MASK,
    "ProtIsonet2MakeMask": _FILE_OF_MASK,
    "ProtMonitorSummary": "`cryoloom watch` and its pages show the session in progress",
    **dict.fromkeys(
        [
            *("ProtMonitorCTF", "ProtMonitorMovieGain", "ProtMonitorSystem", "ProtMonitor2dStreamer"),
            *("ProtDataCounter", "ProtOSCEM"),
        ],
        "`cryoloom watch`, its pages and the report show the session and its methods",
    ),
    "ProtImportMask": _FILE_OF_MASK,
    "ProtImportSubTomograms": "particles are extracted from the images: extract_particles",
    "ProtCryoCARELoadModel": "a network of cryoCARE is not read: denoise trains one of its own",
    "ProtExportCoordinates3D": "`cryoloom export` writes particles for other programs",
    "ProtImodTomoProjection": _NO_DEPTH,
    "ProtImodGoldBeadPicker3d": _BEADS,
    "XmippProtPeakHighContrast": _BEADS,
    "XmippProtPhantomSubtomo": _PHANTOM,
    "XmippProtPhantomTomo": _PHANTOM,
    "XmippProtSubtomoProject": _VIEWED,
    "XmippProtProjectSubtomograms": _VIEWED,
    "XmippProtMonoTomo": "postprocess measures the local resolution of averages, not of tomograms",
    "XmippProtMorphology": "tomograms are not segmented by a threshold: see segment_membranes and pick_blobs",
    "XmippProtCL2D": "no 2D classification of projections is planned",
    "XmippProtGpuCrrCL2D": "no 2D classification of projections is planned",
    "ProtPySegPreSegParticles": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegGraphs": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegFils": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegPicking": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegPlaneAlignClassification": "no classification of membrane particles is planned yet",
    "DeepFinderAnnotations": "picks are made by hand in the browser: pick_by_hand",
    "SphireProtCRYOLOPicking": _SINGLE,
    "XmippProtExtractParticles": _SINGLE,
    "ProtRelionExtractParticles": _SINGLE,
    "ProtRelionClassify2D": _SINGLE,
    "CistemProtFindParticles": _SINGLE,
    "CistemProtRefine2D": _SINGLE,
}
