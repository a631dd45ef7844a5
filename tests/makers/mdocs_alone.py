"""A folder of mdocs without movies, as a page looks at it before a project begins."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["ANGLES", "raw", "write_mdoc"]

ANGLES = (0.0, 3.0, -3.0, 6.0, -6.0)


def write_mdoc(path: Path, pixel_size_angstrom: float) -> None:
    """SerialEM's, in order of angle, with the time of every exposure."""
    lines = [f"PixelSpacing = {pixel_size_angstrom}", "Voltage = 300", ""]
    for section, (order, angle) in enumerate(sorted(enumerate(ANGLES), key=lambda one: one[1])):
        lines += [
            f"[ZValue = {section}]",
            f"TiltAngle = {angle}",
            "RotationAngle = 85.3",
            "ExposureDose = 3",
            f"SubFramePath = X:\\frames\\{path.stem}_{order:03d}.mrc",
            f"DateTime = 01-Nov-26  10:{order:02d}:00",
            "",
        ]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facility") / "raw"
    folder.mkdir()
    write_mdoc(folder / "TS_01.mdoc", 2.7)
    write_mdoc(folder / "TS_02.mdoc", 2.7)
    return folder
