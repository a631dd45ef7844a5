"""Few functions of frequency that span the phases of all shifts of a grid.

A search takes the same data at dozens of shifts that are small against its band, so the phases
``exp(2 pi i k . P s)`` of the shifts are nearly dependent: 179 shifts within 12 A at 20 A are spanned by
about 40 functions, 33 at 40 A by about 15. Scores of the functions give those of all shifts by a small
matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["ShiftBasis", "shift_basis"]

_WORTH = 0.7
"""Chosen: part of the number of shifts; a basis of more functions saves too little."""


@dataclass(frozen=True, slots=True)
class ShiftBasis:
    """``phase of shift s = sum over j of mixing[s, j] spectra[j]``, nearly. Make it by `shift_basis`."""

    mixing: torch.Tensor
    """``(shift, j)`` float32."""
    spectra: torch.Tensor
    """``(j, k)`` complex64."""
    residual: float
    """Largest variance of the part of a shift's phase that is left out, summed with the information."""

    @property
    def is_exact(self) -> bool:
        """Whether the functions are the phases themselves."""
        return self.residual == 0.0


def shift_basis(phases: torch.Tensor, information: torch.Tensor, tolerance: float) -> ShiftBasis:
    """The smallest basis that leaves out no more than ``tolerance`` of ``sum of information |phase|^2``.

    phases : ``(shift, k)`` complex64. information : ``(k,)`` float32, expected ``W |A|^2``: the sum of what a
    basis leaves out is then the variance of a score's error in nats squared.
    The basis consists of principal components of the weighted phases. They are real combinations, because
    scores are real: the error of a score is that of its own shift's row.
    """
    n = len(phases)
    weighted = torch.view_as_real(phases * information.sqrt()).flatten(1)
    gram = (weighted @ weighted.T).double().numpy()
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    # Error of the worst shift if the first ones are kept.
    parts = values * vectors**2
    left = (parts.sum(axis=1, keepdims=True) - np.cumsum(parts, axis=1)).max(axis=0)
    n_kept = int(np.argmax(left <= tolerance)) + 1 if (left <= tolerance).any() else n
    if n_kept > _WORTH * n:
        return ShiftBasis(torch.eye(n), phases, 0.0)
    mixing = torch.tensor(vectors[:, :n_kept].copy(), dtype=torch.float32)
    spectra = (mixing.T.to(phases.dtype) @ phases).contiguous()
    return ShiftBasis(mixing, spectra, max(float(left[n_kept - 1]), 1e-12))
