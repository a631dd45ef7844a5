"""The Python how-to is run as it stands, on a small simulated session."""

from __future__ import annotations

import re
from pathlib import Path

from cryoloom.simulate.session import SimulationParams, simulate_session

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "use-from-python.md"


def test_the_guide_runs(tmp_path, monkeypatch, capsys):
    params = SimulationParams(
        seed=5, tilt_step_deg=6, image_shape_yx=(192, 256), pixel_size_angstrom=10.0, n_frames=3, n_beads=10
    )
    simulate_session(params, tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL))
    exec(compile(code, str(GUIDE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "8 []"
    # As thick as the specimen that was measured, 1200 A with margins, in voxels of 40 A.
    assert re.fullmatch(r"\((3[5-9]|4\d|5\d), 64, 48\) 40\.0", printed[-2])
    assert len(list((tmp_path / "for_imod").rglob("*.xf"))) == 1
