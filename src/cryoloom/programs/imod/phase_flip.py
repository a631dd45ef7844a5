"""The call of ctfphaseflip on aligned images, with an export of their series to IMOD."""

from __future__ import annotations

from collections.abc import Sequence

from cryoloom.contract.program import Call, text_of
from cryoloom.model import TiltSeries
from cryoloom.programs.imod.imod_programs import CTFPHASEFLIP

__all__ = ["phase_flip_call"]


def phase_flip_call(
    name: str,
    aligned: str,
    pixel_angstrom: float,
    series: TiltSeries,
    gpu: Sequence[str],
    *,
    defocus_tolerance_angstrom: float,
    interpolation_px: int,
) -> Call:
    """Flip the phases of ``aligned`` into ``NAME_flipped.mrc``; the series' files are in ``stack/``.

    pixel_angstrom : of the aligned images. gpu : options that name the GPU, none without one.
    """
    microscope = series.microscope
    return Call(
        program=CTFPHASEFLIP,
        arguments=(
            "-InputStack", aligned, "-AngleFile", "stack/stack.tlt", "-OutputFileName", f"{name}_flipped.mrc",
            "-TransformFile", "stack/stack.xf", "-DefocusFile", "stack/stack.defocus",
            # IMOD's own handedness is our +1 (formats.imod.defocus).
            *(["-InvertTiltAngles"] if series.handedness.applied == -1 else []),
            "-Voltage", *text_of(round(microscope.voltage_kv)),
            "-SphericalAberration", *text_of(microscope.spherical_aberration_mm),
            "-AmplitudeContrast", *text_of(microscope.amplitude_contrast),
            "-PixelSize", *text_of(pixel_angstrom / 10),
            "-DefocusTol", *text_of(round(defocus_tolerance_angstrom / 10)),  # a whole number there
            "-InterpolationWidth", str(interpolation_px), *gpu,
        ),
        writes=(f"{name}_flipped.mrc",),
    )  # fmt: skip
