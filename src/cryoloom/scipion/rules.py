"""Translation of Scipion's protocols to steps, parameters and units. Only this package knows Scipion's names.

Units: the tilt axis of Scipion and of this package is that of IMOD, so its sign does not change.
``dosePerFrame`` is the dose of a tilt image. Warp's B-factor is negative for damping, ours is positive; its
defocus is in um. IMOD's bead diameters and defocus tolerances are in nm. Lengths in pixels are converted to
angstrom if the pixel size is known from the import; AreTomo counts unbinned pixels, IMOD, tomo3d and NovaCTF
pixels of their input. Source: forms of the plugins (2024 to 2026): scipion-em-tomo, -imod, -motioncorr,
-warp, -aretomo, -novactf, -tomo3d, -reliontomo, -emantomo, -cistem, -gctf, -dynamo, -cryocare, -tomosegmemtv,
-xmipptomo.
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
