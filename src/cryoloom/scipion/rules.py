"""What Scipion's protocols are here: steps, parameters and their units. Nothing else knows Scipion's names.

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
    "ProtRelionPostProcess": "no step for sharpening and masked FSC is planned yet",
    "ProtRelionCreateMask3D": "no step for masks is planned yet",
    "XmippProtCreateMask3D": "no step for masks is planned yet",
    "XmippProtMonoRes": "no step for local resolution is planned yet",
    "XmippProtFSO": "no step for directional resolution is planned yet",
    "XmippProtLocSharp": "no step for local sharpening is planned yet",
    "XmippProtCropResizeVolumes": "volumes are scaled where they are used",
    "ProtImportVolumes": "a reference or template is told as a file",
    "DeepFinderGenerateTrainingTargetsSpheres": "a network's picks are imported: pick_imported",
    "DeepFinderTrain": "a network's picks are imported: pick_imported",
    "DeepFinderSegment": "a network's picks are imported: pick_imported",
    "DeepFinderCluster": "a network's picks are imported: pick_imported",
    "ProtTomoConsensusPicking": "no step that joins picks is planned yet",
}
