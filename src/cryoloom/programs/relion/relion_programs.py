"""The programs of RELION that steps run."""

from __future__ import annotations

from cryoloom.contract.program import Program

__all__ = [
    "RELION_ALIGN_SYMMETRY",
    "RELION_POSTPROCESS",
    "RELION_REFINE",
    "RELION_REFINE_MPI",
    "RELION_TOMO_ALIGN",
    "RELION_TOMO_RECONSTRUCT",
    "RELION_TOMO_REFINE_CTF",
    "RELION_TOMO_SUBTOMO",
]

_BURT = (
    "Burt, A. et al. (2024) An image processing pipeline for electron cryo-tomography in RELION-5. FEBS Open "
    "Bio 14, 1788-1804, doi:10.1002/2211-5463.13873"
)
_ZIVANOV = (
    "Zivanov, J. et al. (2022) A Bayesian approach to single-particle electron cryo-tomography in RELION-4.0."
    " eLife 11, e83724, doi:10.7554/eLife.83724"
)
_SCHERES = (
    "Scheres, S.H.W. (2012) RELION: implementation of a Bayesian approach to cryo-EM structure determination."
    " J. Struct. Biol. 180, 519-530, doi:10.1016/j.jsb.2012.09.006"
)


def _relion(name: str, purpose: str, *, citation: str = _BURT, oldest: str = "5.0") -> Program:
    return Program(
        name=name,
        suite="RELION",
        executables=(name,),
        purpose=purpose,
        versions=("5.0",) if oldest == "5.0" else ("3.1", "4.0", "5.0"),
        oldest=oldest,
        citation=citation,
        homepage="https://relion.readthedocs.io",
    )


RELION_TOMO_SUBTOMO = _relion("relion_tomo_subtomo", "particles cut out of tilt series")
RELION_REFINE = _relion("relion_refine", "first maps of particles", citation=_SCHERES)
RELION_REFINE_MPI = _relion("relion_refine_mpi", "refinement of particles", citation=_SCHERES)
RELION_ALIGN_SYMMETRY = _relion("relion_align_symmetry", "symmetry of a first map", citation=_SCHERES)
RELION_TOMO_RECONSTRUCT = _relion("relion_tomo_reconstruct_particle", "averages of particles at their poses")
RELION_TOMO_REFINE_CTF = _relion("relion_tomo_refine_ctf", "CTF of tilts from particles", citation=_ZIVANOV)
RELION_TOMO_ALIGN = _relion("relion_tomo_align", "alignment of tilts by particles", citation=_ZIVANOV)
RELION_POSTPROCESS = _relion(
    "relion_postprocess", "resolution and sharpening of an average", citation=_SCHERES, oldest="3.1"
)
