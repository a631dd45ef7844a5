"""Translation of Scipion's protocols to steps, parameters and units. Only this package knows Scipion's names.

Units: Scipion's tilt axis is IMOD's, so is ours, and the sign stays. ``dosePerFrame`` is the dose of a tilt
image. Warp's B-factor is negative for damping, ours positive; its defocus is in um. IMOD's beads and defocus
tolerances are in nm. Lengths in pixels become angstrom where the pixel size is known from the import; AreTomo
counts unbinned pixels, IMOD, tomo3d and NovaCTF those of their input. Read in the plugins' forms (2024 to
2026): scipion-em-tomo, -imod, -motioncorr, -warp, -aretomo, -novactf, -reliontomo, -emantomo, -cistem.
"""

from __future__ import annotations

from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.rule import Rule
from cryoloom.scipion.series import SERIES_RULES
from cryoloom.scipion.tomograms import TOMOGRAM_RULES

__all__ = ["NO_RULE", "RULES"]

RULES: dict[str, Rule] = {**SERIES_RULES, **TOMOGRAM_RULES, **PARTICLE_RULES}

NO_RULE: dict[str, str] = {
    "ProtRelionCreateMask3D": "postprocess finds its mask from the map",
    "XmippProtCreateMask3D": "postprocess finds its mask from the map",
    "XmippProtMonoRes": "postprocess measures the local resolution",
    "XmippProtFSO": "postprocess measures the resolution by direction",
    "XmippProtLocSharp": "no step for local sharpening is planned yet",
    "XmippProtCropResizeVolumes": "volumes are scaled where they are used",
    "ProtImportVolumes": "a reference or template is given as a file",
    "DeepFinderGenerateTrainingTargetsSpheres": "a network's picks are imported: import_coordinates",
    "DeepFinderTrain": "a network's picks are imported: import_coordinates",
    "DeepFinderSegment": "a network's picks are imported: import_coordinates",
    "DeepFinderCluster": "a network's picks are imported: import_coordinates",
    "ProtTomoConsensusPicking": "no step that joins picks is planned yet",
    "ProtMonitorSummary": "`cryoloom watch` and its pages show the session in progress",
    "ProtImportMask": "a mask is given as a file",
    "ProtImportTomomasks": "a mask is given as a file",
    "ProtTomoApplyTomoMask": "a mask is given as a file where it is used",
    "ProtImportSubTomograms": "particles are extracted from the images: extract_particles",
    "ProtInvertTiltAngles": "the opposite axis is equivalent: set tilt_axis_deg at the import",
    "ProtTomoMisalignTiltSeries": "a test of alignment programs: `cryoloom simulate` makes such series",
    "ProtExportCoordinates3D": "`cryoloom export` writes particles for other programs",
    "ProtTomoScoreCoordinates": "no step that scores picks is planned yet",
    "ProtTsFromTomos": "no step that projects tomograms is planned yet",
    "ProtSplitEvenOddTomoSet": "halves are made by align_frames and reconstruct",
    "ProtSplitEvenOddSubtomoSet": "halves are made by refine",
    "XmippProtSubtomoProject": "averages are shown in the viewer",
    "XmippProtSubtomoMapBack": "the viewer shows averages at the positions of particles",
    "XmippProtMonoTomo": "no step for local resolution is planned yet",
    "XmippProtCL2D": "no 2D classification of projections is planned",
    "XmippProtGpuCrrCL2D": "no 2D classification of projections is planned",
    "XmippProtFitEllipsoid": "surfaces are fitted by pick_on_surfaces",
    "XmippProtFilterbyNormal": "particles on a surface have its normal as prior: pick_on_surfaces",
    "ProtTomoSegmenTV": "segmentations of other programs are imported",
    "ProtAnnotateMembranes": "segmentations of other programs are imported",
    "ProtResizeSegmentedVolume": "segmentations of other programs are imported",
    "ProtPySegPreSegParticles": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegGraphs": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegFils": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegPicking": "picks on membranes are made by pick_on_surfaces",
    "ProtPySegPlaneAlignClassification": "no classification of membrane particles is planned yet",
    "DeepFinderAnnotations": "picks are made by hand in the browser: pick_by_hand",
}
