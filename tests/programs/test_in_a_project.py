"""A program step in a project, in worker processes: its log, its error, what is kept of the program."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from cryoloom.engine.executors.dask_executor import DaskExecutor
from cryoloom.engine.executors.slurm import ClusterParams, SlurmWorkers
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.project import Project
from cryoloom.formats.pixels.mrc import write_mrc
from makers.loopback_slurm import loopback_slurm, why_not

WEIGHT = """
given = options(dict.fromkeys([
    "-InputFile", "-OutputFile", "-PixelSize", "-Voltage", "-TypeOfDoseFile", "-DoseWeightingFile"], 1))
shape, body = read_mrc(given["-InputFile"][0])
print("weighting", shape[0], "images", flush=True)
if os.path.exists("left.txt"):
    fail("old output in the folder")
pathlib.Path("left.txt").touch()
FAULT
write_mrc(given["-OutputFile"][0], shape, body)
"""
NAN = "body = struct.pack('<f', float('nan')) + body[4:]"


@pytest.fixture
def project(tmp_path, rng):
    folder = tmp_path / "raw data"
    folder.mkdir()
    for name in ("TS_01", "TS_02"):
        write_mrc(folder / f"{name}.mrc", rng.normal(100, 10, (5, 16, 24)).astype(np.float32), 2.0)
        (folder / f"{name}.rawtlt").write_text("-6\n-3\n0\n3\n6\n")
    project = Project.create(tmp_path / "a project")
    project.run("import_tilt_series", stack=str(folder), dose_per_tilt_per_angstrom2=3.0, scheme="ascending")
    return project


def log_of(project, item):
    return (project.folder / item.files[0].path).parent.joinpath("log.txt").read_text()


@pytest.mark.parametrize("executor", ["threads", "local"])
def test_what_is_kept_of_a_program(project, stand_in, executor):
    place = stand_in("mtffilter", WEIGHT.replace("FAULT", ""))
    # "local" is Dask with a worker process, which is given the same PATH and settings.
    weighted(project, place, Workplace(executor, "cpu", 1))


@pytest.mark.slow  # starts a Slurm; the Dask worker above is its fast twin
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm can be started")
def test_a_program_on_slurm(project, stand_in, tmp_path, monkeypatch):
    """Jobs of a real Slurm find the program, log it and keep its version, as threads do."""
    place = stand_in("mtffilter", WEIGHT.replace("FAULT", ""))
    params = ClusterParams(jobs=1, cores=1, memory_gib=1.5, wall_time="0:20:00", host="127.0.0.1")
    with loopback_slurm(tmp_path / "slurm") as found:
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        weighted(project, place, DaskExecutor(SlurmWorkers(params, tmp_path / "logs")))


def weighted(project, place, executor):
    summary = project.run("imod_weight_dose", input="import_tilt_series", executor=executor)
    assert [item.error for item in summary.failed] == []
    items = project.database.items(project.find_run("imod_weight_dose").id, with_records=True)
    assert [item.name for item in items] == ["TS_01", "TS_02"]
    for item in items:
        kept = item.records["programs"]["mtffilter"]
        assert kept["place"] == str(place)
        assert "Kremer" in kept["reference"]
        log = log_of(project, item)
        assert "weighting 5 images" in log
        assert "-TypeOfDoseFile 2" in log
        assert project.value(item).weighted.images.shape == (5, 16, 24)
    assert not list(project.folder.rglob(".scratch.part"))


def test_one_item_fails_by_the_programs_first_error(project, stand_in):
    stand_in(
        "mtffilter",
        WEIGHT.replace("FAULT", 'if "TS_02" in os.getcwd(): fail("MTFFILTER - READING IMAGE FILE")'),
    )
    summary = project.run("imod_weight_dose", input="import_tilt_series", device="cpu")
    assert summary.n_done == 1
    (failed,) = summary.failed
    assert failed.name == "TS_02"
    assert failed.error["message"].endswith("code 1: ERROR: MTFFILTER - READING IMAGE FILE")


def test_output_that_is_no_number_is_never_taken(project, stand_in):
    stand_in("mtffilter", WEIGHT.replace("FAULT", NAN))
    summary = project.run("imod_weight_dose", input="import_tilt_series", device="cpu")
    assert summary.n_done == 0
    assert all("NaN" in item.error["message"] or "finite" in item.error["message"] for item in summary.failed)


def test_a_missing_program_is_one_sentence(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("mtffilter") is None
    summary = project.run("imod_weight_dose", input="import_tilt_series", device="cpu")
    assert "mtffilter is not found on this machine" in summary.failed[0].error["message"]
