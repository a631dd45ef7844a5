"""The executor as a user names it: ``local``, ``threads``, ``dask:ADDRESS`` or ``slurm``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryoloom.engine.executors.executor import Executor, InProcessExecutor
from cryoloom.errors import UserInputError

__all__ = ["Workplace"]


@dataclass(frozen=True, slots=True)
class Workplace:
    """A choice of executor; ``workers`` for ``local`` and ``threads``, ``cluster`` a file for ``slurm``."""

    executor: str = "threads"
    device: str = "auto"
    workers: int | None = None
    cluster: Path | None = None
    share_gpus: bool = False

    def open(self, project: Path) -> Executor:
        """The executor; raises UserInputError if the choice is inconsistent. Starts nothing yet."""
        kind, _, address = self.executor.partition(":")
        if self.cluster is not None and kind != "slurm":
            raise UserInputError(f"a cluster file goes with --executor slurm, got {self.executor!r}")
        if kind == "threads":
            return InProcessExecutor(self.device, self.workers or 1)
        # Imported here, so that commands that only read need not import Dask.
        from cryoloom.engine.executors.dask_executor import DaskExecutor
        from cryoloom.engine.executors.slurm import ClusterParams, SlurmWorkers, load_cluster
        from cryoloom.engine.executors.workforces import DaskWorkers, LocalWorkers

        if kind == "local":
            return DaskExecutor(LocalWorkers(self.device, self.workers))
        if self.workers is not None:
            raise UserInputError("the number of workers is the cluster's: leave --workers out")
        if kind == "slurm":
            params = load_cluster(self.cluster) if self.cluster is not None else ClusterParams()
            return DaskExecutor(SlurmWorkers(params, project / "slurm_logs", self.device))
        if kind == "dask" and address:
            return DaskExecutor(DaskWorkers(address, self.device, share_gpus=self.share_gpus))
        raise UserInputError(
            f"there is no executor {self.executor!r}; expected local, threads, slurm or dask:ADDRESS "
            "(such as dask:tcp://node1:8786)"
        )
