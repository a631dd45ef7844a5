"""Slurm: what a job asks for, and a small workflow on a real Slurm where one can be started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoloom.engine.executors.dask_executor import DaskExecutor
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.executors.slurm import ClusterParams, SlurmWorkers, load_cluster
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import TransientError, UserInputError
from makers.fakes import fake_steps
from makers.loopback_slurm import loopback_slurm, why_not

__all__ = ["fake_steps"]
TESTS = Path(__file__).resolve().parents[2]


def job_script(**values):
    from dask_jobqueue.slurm import SLURMCluster

    params = ClusterParams.model_validate(values)
    options = SlurmWorkers(params, Path("/logs"))._cluster_options()
    job_options = {k: v for k, v in options.items() if k not in ("scheduler_options", "silence_logs")}
    return SLURMCluster.job_cls(scheduler="tcp://head:1", **job_options).job_script()


def test_ctrl_c_stays_as_it_was():
    """dask_jobqueue sets a handler when it is imported."""
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
import cryoloom.engine.executors.slurm
print(signal.getsignal(signal.SIGINT).__name__)
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "default_int_handler"


def test_a_job_asks_for_what_the_file_says():
    script = job_script(
        partition="gpu",
        account="lab7",
        cores=12,
        memory_gib=60,
        gpus=1,
        wall_time="1-12:00:00",
        directives=["--constraint=a100"],
        preamble=["module load cuda/12.4", "source /opt/cryoloom/bin/activate"],
    )
    for line in (
        "#SBATCH -p gpu",
        "#SBATCH -A lab7",
        "#SBATCH --cpus-per-task=12",
        "#SBATCH --mem=60G",
        "#SBATCH --gres=gpu:1",
        "#SBATCH -t 1-12:00:00",
        "#SBATCH --constraint=a100",
        "module load cuda/12.4",
    ):
        assert line in script.splitlines()
    worker = next(line for line in script.splitlines() if "dask" in line and "--nthreads" in line)
    assert "--nthreads 1" in worker
    assert script.index("activate") < script.index(worker)
    assert "--memory-limit 60.00GiB" in worker


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory: 4", "did you mean memory_gib"),
        ("cores: 0", "greater than or equal to 1, got 0"),
        ("wall_time: soon", "wall_time"),
        ("gpus: 4", "gpus"),
        ("- a list", "must hold"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_cluster_file_is_named(text, words, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(UserInputError, match=words):
        load_cluster(path)


def test_a_gpu_is_used_where_jobs_have_one(tmp_path):
    with_gpu = ClusterParams(gpus=1)
    assert SlurmWorkers(with_gpu, tmp_path).resources.device == "cuda:0"
    assert SlurmWorkers(with_gpu, tmp_path, "cpu").resources.device == "cpu"
    with pytest.raises(UserInputError, match="gpus: 1"):
        SlurmWorkers(ClusterParams(), tmp_path, "cuda")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of its own, in the environment."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with (
        pytest.MonkeyPatch.context() as patch,
        loopback_slurm(tmp_path_factory.mktemp("s") / "slurm") as found,
    ):
        for name, value in found.items():
            patch.setenv(name, value)
        patch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", f'["{TESTS / "makers" / "fakes_on_workers.py"}"]')
        paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", ":".join(filter(None, paths)))
        yield


def workflow(**parameters):
    steps = [{"step": name, "parameters": values} for name, values in parameters.items()]
    return Workflow.model_validate({"name": "fake", "steps": [{"step": "find_series"}, *steps]})


PARAMS = ClusterParams(jobs=2, cores=1, memory_gib=1.5, wall_time="0:20:00", host="127.0.0.1")


@pytest.mark.usefixtures("fake_steps", "slurm")
def test_jobs_of_slurm_give_what_threads_give_and_survive_the_loss_of_one(tmp_path):
    counter = tmp_path / "deaths"
    counter.mkdir()
    project, other = (Project.create(tmp_path / name) for name in ("project", "other"))
    peril = {"deadly": ["TS_02"], "n_deaths": 1, "counter": str(counter)}
    plan = workflow(peril=peril, smooth={}, spread={"seconds": 0.1})
    summary = project.run_workflow(plan, executor=DaskExecutor(SlurmWorkers(PARAMS, tmp_path / "logs")))
    assert not summary.failed
    assert len(list(counter.iterdir())) == 1  # a job lost its process, and the item was tried again
    other.run_workflow(plan, executor=InProcessExecutor("cpu"))  # the counter is full: nobody dies
    mine, its = (
        {item.name: p.value(item).weighted.images[:] for item in p.database.items(p.find_run("smooth").id)}
        for p in (project, other)
    )
    assert mine.keys() == {"TS_01", "TS_02", "TS_03"}
    np.testing.assert_array_equal(average_of(project), average_of(other))
    for name, images in mine.items():
        np.testing.assert_array_equal(images, its[name])


def average_of(project):
    (item,) = project.database.items(project.find_run("spread").id)
    return project.value(item).map[:]


@pytest.mark.slow  # a job more; with two jobs it is in the test above
@pytest.mark.usefixtures("fake_steps", "slurm")
def test_the_only_job_does_a_gathering_step_and_its_parts_and_survives_a_death(tmp_path):
    counter = tmp_path / "deaths"
    counter.mkdir()
    project, other = (Project.create(tmp_path / name) for name in ("project", "other"))
    plan = workflow(draw={}, spread={"deadly_part": 2, "counter": str(counter)})
    params = PARAMS.model_copy(update={"jobs": 1})
    summary = project.run_workflow(plan, executor=DaskExecutor(SlurmWorkers(params, tmp_path / "logs")))
    assert not summary.failed
    assert len(list(counter.iterdir())) == 1
    other.run_workflow(plan, executor=InProcessExecutor("cpu"))
    np.testing.assert_array_equal(average_of(project), average_of(other))


@pytest.mark.usefixtures("fake_steps", "slurm")
def test_a_job_slurm_would_refuse_is_reported_before_anything_runs(tmp_path):
    project = Project.create(tmp_path / "project")
    params = PARAMS.model_copy(update={"partition": "no_such_partition"})
    with pytest.raises(UserInputError, match=r"Slurm refuses such jobs: .*partition"):
        project.run_workflow(
            workflow(draw={}), executor=DaskExecutor(SlurmWorkers(params, tmp_path / "logs"))
        )


@pytest.mark.slow  # Slurm takes its time; its fast twin is above
@pytest.mark.usefixtures("fake_steps", "slurm")
def test_jobs_that_end_before_their_worker_came_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("cryoloom.engine.executors.slurm._LOOK_SECONDS", 3)
    project = Project.create(tmp_path / "project")
    params = PARAMS.model_copy(update={"preamble": ("echo no such module cuda >&2", "exit 1")})
    with pytest.raises(
        TransientError, match=r"ended before their worker could be reached.*no such module cuda"
    ):
        project.run_workflow(
            workflow(draw={}), executor=DaskExecutor(SlurmWorkers(params, tmp_path / "logs"))
        )
