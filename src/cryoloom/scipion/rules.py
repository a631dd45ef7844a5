"""Translation of Scipion's protocols to steps, parameters and units. Only this package knows Scipion's names.

Units: Scipion's tilt axis is IMOD's, so is ours, and the sign stays. ``dosePerFrame`` is the dose of a tilt
image. Warp's B-factor is negative for damping, ours positive; its defocus is in um. IMOD's beads and defocus
tolerances are in nm. Lengths in pixels become angstrom where the pixel size is known from the import; AreTomo
counts unbinned pixels, IMOD, tomo3d and NovaCTF those of their input. Read in the plugins' forms (2024 to
2026): scipion-em-tomo, -imod, -motioncorr, -warp, -aretomo, -novactf, -tomo3d, -reliontomo, -emantomo,
-cistem, -gctf, -dynamo, -cryocare, -tomosegmemtv, -xmipptomo.
"""

from __future__ import annotations

from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.picks import PICK_RULES
from cryoloom.scipion.rule import Rule
from cryoloom.scipion.series import SERIES_RULES
from cryoloom.scipion.stated import NO_RULE, STATED_RULES
from cryoloom.scipion.streaming import STREAMING_RULES
from cryoloom.scipion.tomograms import TOMOGRAM_RULES

__all__ = ["NO_RULE", "RULES"]

RULES: dict[str, Rule] = {
    **SERIES_RULES,
    **STREAMING_RULES,
    **TOMOGRAM_RULES,
    **PICK_RULES,
    **PARTICLE_RULES,
    **STATED_RULES,
}
