"""Workers as Slurm jobs: each job is one worker, which does one task at a time."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Literal

import dask
import yaml
from distributed import Client
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.engine.executors.dask_executor import DASK_SETTINGS, silent_dask
from cryoloom.engine.executors.workforces import NO_DASHBOARD
from cryoloom.engine.graph.validation import validated
from cryoloom.engine.worker.task import Resources
from cryoloom.errors import TransientError, UserInputError

# Importing dask_jobqueue makes Ctrl-C end the process at once; here it stops the work in order.
_on_interrupt = signal.getsignal(signal.SIGINT)
from dask_jobqueue.slurm import SLURMCluster  # noqa: E402

if _on_interrupt is not None:
    signal.signal(signal.SIGINT, _on_interrupt)

__all__ = ["ClusterParams", "SlurmWorkers", "load_cluster"]

_LOOK_SECONDS = 15
"""Interval at which Slurm is queried whether jobs without a worker still exist."""


class ClusterParams(BaseModel):
    """Resources of a job, as in ``cluster.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs: int = Field(4, ge=1, description="Largest number of jobs. A job is one worker: one item at a time.")
    cores: int = Field(8, ge=1, description="Cores of a job.")
    memory_gib: float = Field(32.0, gt=0, description="Memory of a job, GiB.")
    wall_time: str = Field(
        "24:00:00", pattern=r"^(\d+-)?\d+(:\d+){0,2}$", description="Time limit of a job, in Slurm's format."
    )
    gpus: Literal[0, 1] = Field(0, description="GPUs of a job.")
    partition: str | None = Field(None, description="Partition; not set: the cluster's default.")
    account: str | None = Field(None, description="Account that is charged.")
    directives: tuple[str, ...] = Field((), description="Further options of sbatch, e.g. --constraint=a100.")
    preamble: tuple[str, ...] = Field((), description="Shell lines before the worker starts, in every job.")
    python: str | None = Field(None, description="Python of the jobs; not set: the one that runs this.")
    interface: str | None = Field(None, description="Network interface over which nodes reach this machine.")
    host: str | None = Field(
        None, description="Address at which nodes reach this machine, if not by interface."
    )
    port: int = Field(0, ge=0, lt=65536, description="Port at which nodes reach this process; 0: any.")
    scratch: Path | None = Field(None, description="Folder on the nodes for Dask's own small files.")
    idle_minutes: float = Field(2.0, gt=0, description="A job without work is released after this time.")


def load_cluster(path: Path) -> ClusterParams:
    """Read ``cluster.yaml``; raises UserInputError that names the line that is wrong."""
    if not path.is_file():
        raise UserInputError(f"there is no cluster file {path}")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserInputError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise UserInputError(f"{path} must hold `name: value` lines, such as `partition: gpu`")
    return validated(ClusterParams, values, str(path))


class SlurmWorkers:
    """Jobs are submitted as tasks wait, up to a limit, and released when there is no more work."""

    is_ours = False
    retries_itself = False
    shared_memory_bytes = None

    def __init__(self, params: ClusterParams, log_folder: Path, device: str = "auto") -> None:
        self._params, self._logs = params, log_folder
        if device.startswith("cuda") and not params.gpus:
            raise UserInputError(f"--device {device} needs `gpus: 1` in the cluster file")
        self.n_workers = params.jobs
        self.resources = Resources(
            "cuda:0" if params.gpus and device != "cpu" else "cpu",
            params.cores,
            int(params.memory_gib * 0.9 * 2**30),  # the rest is for the interpreter and the file cache
        )
        self._open = contextlib.ExitStack()
        self._cluster: Any = None
        self._client: Client | None = None
        self._next_look = 0.0

    def connect(self) -> Client:
        """Check with Slurm that such a job is allowed, and begin to submit some."""
        self._open.enter_context(dask.config.set({**DASK_SETTINGS, **_JOB_SETTINGS}))
        self._open.enter_context(silent_dask())
        self._logs.mkdir(parents=True, exist_ok=True)
        self._cluster = SLURMCluster(**self._cluster_options())
        self._open.callback(self._cluster.close, timeout=10)
        _try_out(self._cluster.job_script())
        self._cluster.adapt(
            minimum_jobs=0,
            maximum_jobs=self._params.jobs,
            interval="2s",
            wait_count=max(1, round(self._params.idle_minutes * 30)),
            target_duration="1ms",  # as many jobs as tasks: a task is long, and Dask cannot know how long
        )
        self._client = Client(self._cluster, set_as_default=False)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        return self._client

    def _cluster_options(self) -> dict[str, Any]:
        params = self._params
        gpu = ("--gres=gpu:1",) if params.gpus else ()
        own = {"host": params.host} if params.host else {}
        return {
            "queue": params.partition,
            "account": params.account,
            "cores": 1,  # threads of the Dask worker: one task at a time
            "processes": 1,
            "job_cpu": params.cores,
            "memory": f"{params.memory_gib}GiB",
            "walltime": params.wall_time,
            "job_extra_directives": [*gpu, *params.directives],
            "job_script_prologue": [*_PROLOGUE, *params.preamble],
            "worker_extra_args": ["--no-dashboard"],
            "python": params.python,
            "local_directory": str(params.scratch) if params.scratch else None,
            "log_directory": str(self._logs),
            "interface": params.interface,
            "name": "cryoloom",
            "job_name": "cryoloom",
            "scheduler_options": {**own, "port": params.port, **NO_DASHBOARD},
            "silence_logs": False,
        }

    def check(self) -> None:
        """Raise TransientError if jobs ended before their worker connected, and none is left to wait for."""
        if self._cluster is None or self._client is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        jobs = {str(job.job_id) for job in list(self._cluster.workers.values()) if job.job_id}
        if not jobs or self._client.nthreads() or jobs & _jobs_of_slurm():
            return
        raise TransientError(
            f"Slurm jobs {', '.join(sorted(jobs))} ended before their worker could be reached; "
            f"correct the cluster file and resume. The last log says: {_last_line(self._logs)}",
            logs=self._logs,
        )

    def close(self) -> None:
        """Cancel the jobs."""
        self._open.close()


_JOB_SETTINGS = {"distributed.deploy.lost-worker-timeout": "60s", "jobqueue.slurm.death-timeout": "120"}
_PROLOGUE = (
    "export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
    "export NUMBA_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}",
)


def _try_out(job_script: str) -> None:
    """Ask Slurm whether it accepts such a job; raises UserInputError with its answer."""
    try:
        asked = subprocess.run(
            ["sbatch", "--test-only"],
            input=job_script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserInputError(
            "sbatch is not on this machine; run this on a machine that can submit Slurm jobs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TransientError("Slurm does not answer (sbatch, 60 s); resume when it does") from error
    if asked.returncode:
        said = " ".join(asked.stderr.split())
        raise UserInputError(f"Slurm refuses such jobs: {said}; correct the cluster file")


def _jobs_of_slurm() -> set[str]:
    """Ids of this user's jobs that wait or run."""
    asked = subprocess.run(
        ["squeue", "--me", "-h", "-o", "%A"], capture_output=True, text=True, timeout=60, check=False
    )
    if asked.returncode:
        raise TransientError(f"Slurm does not answer: {' '.join(asked.stderr.split())}")
    return set(asked.stdout.split())


def _last_line(folder: Path) -> str:
    """Last line of the newest log."""
    logs = sorted(folder.glob("*.err"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(errors="replace").strip().splitlines() if logs else []
    return lines[-1] if lines else "nothing"
