"""The programs of IMOD that steps run."""

from __future__ import annotations

from cryoloom.contract.program import Program

__all__ = [
    "AUTOFIDSEED",
    "BEADTRACK",
    "CCDERASER",
    "CTFPHASEFLIP",
    "CTFPLOTTER",
    "ETOMO",
    "IMODCHOPCONTS",
    "MTFFILTER",
    "NEWSTACK",
    "THREEDMOD",
    "TILT",
    "TILTALIGN",
    "TILTXCORR",
    "TRIMVOL",
    "XFPRODUCT",
    "XFTOXG",
]


def _imod(name: str, purpose: str) -> Program:
    return Program(
        name=name,
        suite="IMOD",
        executables=(name,),
        purpose=purpose,
        versions=("4.9", "4.11", "4.12", "5.0"),
        version_arguments=None,  # without a terminal its programs do not say it
        citation="Kremer, J.R., Mastronarde, D.N. & McIntosh, J.R. (1996) Computer visualization of "
        "three-dimensional image data using IMOD. J. Struct. Biol. 116, 71-76, doi:10.1006/jsbi.1996.0013",
        homepage="https://bio3d.colorado.edu/imod",
        errors=(r"^ERROR: [A-Z0-9]+ - ",),
    )


CCDERASER = _imod("ccderaser", "X-rays in tilt images")
MTFFILTER = _imod("mtffilter", "dose weighting")
NEWSTACK = _imod("newstack", "stacks: binning and transforms")
TILTXCORR = _imod("tiltxcorr", "coarse alignment and patch tracking")
XFTOXG = _imod("xftoxg", "transforms: from neighbours to one frame")
IMODCHOPCONTS = _imod("imodchopconts", "patch tracks cut into pieces")
TILTALIGN = _imod("tiltalign", "alignment from tracks")
XFPRODUCT = _imod("xfproduct", "transforms: products")
CTFPLOTTER = _imod("ctfplotter", "CTF of a series")
CTFPHASEFLIP = _imod("ctfphaseflip", "CTF correction in strips")
AUTOFIDSEED = _imod("autofidseed", "gold beads to begin with")
BEADTRACK = _imod("beadtrack", "gold beads tracked through the series")
TRIMVOL = _imod("trimvol", "tomograms cut and turned")
ETOMO = _imod("etomo", "alignment by hand, in its window")
THREEDMOD = _imod("3dmod", "volumes and models, in its window")
TILT = _imod("tilt", "weighted back-projection and SIRT")
