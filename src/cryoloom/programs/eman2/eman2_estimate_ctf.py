"""Estimate the CTF of an aligned series with EMAN2 (``e2spt_tomoctf.py``).

EMAN2 averages spectra of tiles along the tilt axis, with the defocus that the poses give each, so its defocus
is that of the poses' origin. It knows no astigmatism. Its phase holds the amplitude contrast: what is above
that becomes the phase shift, where more than one phase is tried.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import model_validator

from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, series_with_found_ctfs
from cryoloom.programs.eman2.eman2_project import (
    E2SPT_TOMOCTF,
    info_file,
    info_name,
    require_size,
    stack_name,
)
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.included_tilts import written

__all__ = ["Eman2EstimateCtfParams", "calls", "eman2_estimate_ctf", "parse"]

_NAME = "stack"


class Eman2EstimateCtfParams(ProgramParams):
    """Options of e2spt_tomoctf.py."""

    defocus_range_um: tuple[float, float, float] = option(
        "--dfrange", (1.0, 8.0, 0.02), kind="comma", description="Least and largest defocus, and step, um."
    )
    phase_range_deg: tuple[float, float, float] | None = option(
        "--psrange", None, kind="comma",
        description="Least and largest phase, and step; the largest is not tried itself. The amplitude "
        "contrast is in it: 4 degrees for 7 percent. Unset: that of the series, and no other.",
    )  # fmt: skip
    tile_px: int = option("--tilesize", 256, ge=64, description="Side of the tiles.")
    first_tilts: int = option(
        "--nref", 15, ge=0, description="Tilts nearest to 0 from which the range for the rest is found."
    )
    tiles_across: int = option("--stepx", 20, ge=2, description="Places across the tilt axis.")
    tiles_along: int = option("--stepy", 40, ge=2, description="Tiles along the tilt axis at each place.")
    first_zero: int = option(
        "--minres", -1, ge=-1, description="Zero of the CTF from which rings are fitted; -1: the first."
    )

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Eman2EstimateCtfParams:
        for name in ("defocus_range_um", "phase_range_deg"):
            if getattr(self, name) is None:
                continue
            low, high, width = getattr(self, name)
            if not (low < high and width > 0):
                raise ValueError(f"{name} is {low:g} to {high:g} in steps of {width:g}; expected low < high")
        return self


def calls(series: TiltSeries, params: Eman2EstimateCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run over the tilts in use."""
    microscope = series.microscope
    phase = _amplitude_deg(series)
    phase_range = (
        [] if params.phase_range_deg else ["--psrange", ",".join(text_of((phase, phase + 5.0, 5.0)))]
    )
    return (
        Call(
            program=E2SPT_TOMOCTF,
            arguments=(
                stack_name(_NAME), "--voltage", *text_of(round(microscope.voltage_kv)),
                "--cs", *text_of(microscope.spherical_aberration_mm),
                "--threads", str(workplace.n_threads), *phase_range, *arguments_of(params),
            ),
            files={
                info_name(_NAME): info_file(
                    _NAME, series, upside_down=series.handedness.applied != 1, binning=1, with_ctf=False
                )
            },
            writes=(info_name(_NAME),),
        ),
    )  # fmt: skip


def parse(path: Path, series: TiltSeries, params: Eman2EstimateCtfParams) -> ForeignCtf:
    """CTFs by section, from the file that EMAN2 wrote its answer into.

    Raises DataUnfitError if it has none, or not one for every section.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        defocus, phase = (np.asarray(entries[name], dtype=np.float64) for name in ("defocus", "phase"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataUnfitError(
            f"EMAN2 left {path.name} without a defocus and a phase of every image ({error}); it found no CTF"
        ) from error
    if len(defocus) != len(series.tilts) or len(phase) != len(defocus):
        raise DataUnfitError(
            f"{path.name} holds {len(defocus)} defoci, expected one for each of {len(series.tilts)} images"
        )
    if not np.isfinite(phase).all():  # a NaN would pass the limit at 0 below as 0
        raise DataUnfitError(f"{path.name} holds phases that are not finite; the result is not used")
    low, high, width = params.phase_range_deg or (0.0, 0.0, 1.0)
    is_fitted = low + width < high
    amplitude_deg = _amplitude_deg(series)
    views = tuple(
        ForeignCtfView(
            ctf_of(
                1e4 * float(df), 1e4 * float(df), 0.0,
                phase_shift_deg=max(0.0, float(ps) - amplitude_deg) if is_fitted else 0.0,
                where=f"image {section + 1} of {path.name}",
            ),
            section=section,
        )
        for section, (df, ps) in enumerate(zip(defocus, phase, strict=True))
    )  # fmt: skip
    return ForeignCtf(path, views, n_images=len(views), refers_to="origin")


def _amplitude_deg(series: TiltSeries) -> float:
    """Phase that stands for the amplitude contrast."""
    return round(float(np.rad2deg(np.arcsin(series.microscope.amplitude_contrast))), 3)


@step(
    "eman2_estimate_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 30) + 12 * _pixels_of_stack(series),
    methods="The CTF of every tilt was estimated with EMAN2.",
    figures=CTF_FIGURES,
    source_of=("ctf",),
    programs=(E2SPT_TOMOCTF,),
    calls=calls,
    beside="estimate_ctf",
)
def eman2_estimate_ctf(
    series: TiltSeries, params: Eman2EstimateCtfParams, context: StepContext
) -> TiltSeries:
    """Estimate the CTF of an aligned series with EMAN2."""
    require_size(series)
    folder = context.scratch()
    (folder / "tiltseries").mkdir(exist_ok=True)
    used = written(series, series.unweighted_stack, folder / stack_name(_NAME), least=3)
    make_calls(calls(used, params, workplace_of(context)), params, context)
    found = parse(folder / info_name(_NAME), used, params)
    index_of = {tilt.section: tilt for tilt in used.tilts}
    in_series = {tilt.acquisition_index: tilt.section for tilt in series.tilts}
    views = tuple(
        replace(view, section=in_series[index_of[view.section].acquisition_index]) for view in found.views
    )
    return series_with_found_ctfs(series, replace(found, views=views, n_images=None), context)


def _pixels_of_stack(series: TiltSeries) -> int:
    """EMAN2 holds all images."""
    n, n_y, n_x = series.unweighted_stack.images.shape
    return n * n_y * n_x
