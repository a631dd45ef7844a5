"""The program WarpTools, and what its calls share."""

from __future__ import annotations

from cryoloom.contract.program import Call, Program, text_of
from cryoloom.model import TiltSeries

__all__ = ["WARPTOOLS", "settings_call", "tilt_series_settings"]

WARPTOOLS = Program(
    name="WarpTools",
    suite="Warp",
    executables=("WarpTools",),
    purpose="motion, CTF, alignment and picking of tilt series",
    versions=("2.0",),
    needs_gpu=True,
    citation="Tegunov, D., Xue, L., Dienemann, C., Cramer, P. & Mahamid, J. (2021) Multi-particle cryo-EM "
    "refinement with M visualizes ribosome-antibiotic complex at 3.5 A in cells. Nat. Methods 18, 186-193, "
    "doi:10.1038/s41592-020-01054-7",
    homepage="https://warpem.github.io/warp",
)


def settings_call(
    name: str, folder_data: str, folder_processing: str, extension: str, words: tuple[str, ...]
) -> Call:
    """``create_settings``: the file that every other command of WarpTools begins with."""
    return Call(
        program=WARPTOOLS,
        arguments=(
            "create_settings", "--output", name, "--folder_data", folder_data,
            "--folder_processing", folder_processing, "--extension", extension, *words,
        ),
        files={f"{folder_processing}/.folder": ""},
        writes=(name,),
    )  # fmt: skip


def tilt_series_settings(
    name: str, series: TiltSeries, stem: str, volume_xyz_angstrom: tuple[float, float, float]
) -> Call:
    """Settings of one exported tilt series (`formats.warp.tilt_series`), called ``stem``, and its volume."""
    pixel = series.unweighted_stack.pixel_size_angstrom
    size = "x".join(str(max(2, round(extent / pixel))) for extent in volume_xyz_angstrom)
    words = (
        "--angpix", *text_of(pixel), "--exposure", *text_of(series.tilts[0].dose_per_angstrom2),
        "--tomo_dimensions", size,
    )  # fmt: skip
    return settings_call(name, "tomostar", "warp_tiltseries", f"{stem}.tomostar", words)
