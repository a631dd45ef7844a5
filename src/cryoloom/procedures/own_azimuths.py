"""Whether the azimuths of particles on a surface follow from the particles themselves.

If the mask contains neighbours, the lattice can determine the azimuth (the rotation about the normal), and
the halves agree about the lattice. Therefore the azimuths are searched again with the first reference masked
to the cell of one particle, at a detail that shows the particle's own rotation. If the particles follow the
lattice, both searches give the same azimuths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.refinement import PassOrder, first_reference, reference_scale
from cryoloom.algorithms.averaging.surface_cells import azimuth_band_angstrom
from cryoloom.contract.step import StepContext
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ParticleRows
from cryoloom.procedures.particle_passes import SeriesWorker

__all__ = ["LEAST_AZIMUTH_AGREEMENT", "azimuth_agreement"]

#: Chosen between 0 (random) and 1 (correct). In one simulated set azimuths determined by neighbours had 0.20;
#: correct azimuths in a lattice passed.
LEAST_AZIMUTH_AGREEMENT = 0.5
#: Chosen: steps of azimuth and cone in degrees, and reach and step of the shifts as a fraction of the band.
_STEP_DEG, _OF_BAND = 8.0, 0.2


def azimuth_agreement(
    worker: SeriesWorker,
    rows: ParticleRows,
    reference: torch.Tensor,
    voxel_angstrom: float,
    cell_angstrom: float,
    group: str,
    context: StepContext,
) -> float:
    """Length of the mean of ``exp(i n d)``: 1 if all azimuths differ by the same angle d, 0 if unrelated.

    rows : refined particles of a worker; those with a half are used. n : order of the group's z axis.
    """
    band = azimuth_band_angstrom(cell_angstrom, worker.image_pixel_angstrom)
    alone = SeriesWorker(
        context,
        worker.series,
        replace(
            rows,
            prior_directions=rows.rotations[:, :, 2],
            prior_width_deg=np.full(rows.n, _STEP_DEG),
        ),
        cell_angstrom,
        max_dose_per_angstrom2=worker.max_dose_per_angstrom2,
        min_tilts=worker.min_tilts,
        prior_sd_angstrom=worker.prior_sd_angstrom,
    )
    layout = alone.layout(band)
    alone.extract(layout)
    first = first_reference(reference, voxel_angstrom, layout, cell_angstrom, band)
    first = first * reference_scale(alone, first, band)
    operators = symmetry_matrices(group)
    order = int((operators[:, 2, 2] > 1.0 - 1e-6).sum())
    reach = _OF_BAND * band
    grid = DirectedGrid(_STEP_DEG, _STEP_DEG, _STEP_DEG, reach, reach, reach, azimuth_range_deg=360.0 / order)
    for _ in alone.run(PassOrder("search", (first, first), band, 1.0, grid)):
        pass
    used = alone.half > 0
    between = np.swapaxes(rows.rotations[used], 1, 2) @ alone.rows.rotations[used]
    azimuth = np.arctan2(between[:, 1, 0] - between[:, 0, 1], between[:, 0, 0] + between[:, 1, 1])
    return float(np.abs(np.exp(1j * order * azimuth).mean())) if used.any() else 0.0
