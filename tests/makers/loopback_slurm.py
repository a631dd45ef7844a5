"""A real Slurm on the loopback for tests: Debian's munged, slurmctld and slurmd, one node, this machine.

Needs root and the packages ``slurm-wlm`` and ``munge``. Everything it writes is in one folder; ports are its
own, so that it lives beside a Slurm that is there already.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["loopback_slurm", "why_not"]

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SchedulerParameters=sched_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller_port}
SlurmdPort={node_port}
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={n_cpus} RealMemory={memory_mib} State=UNKNOWN
PartitionName=loop Nodes={host} Default=YES MaxTime=1:00:00 State=UP
"""


def why_not() -> str:
    """Why no Slurm can be started here, or ""."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_search_path()) is None]
    if missing:
        return f"no Slurm on this machine: {', '.join(missing)} not found (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "starting Slurm's daemons needs root"


@contextmanager
def loopback_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start Slurm; yields the environment in which sbatch and squeue find it."""
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    n_cpus = os.cpu_count() or 1
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            host=host,
            folder=folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            n_cpus=n_cpus,
            memory_mib=memory_mib - 512,
        )
    )
    environment = {"SLURM_CONF": str(configuration), "PATH": _search_path()}
    daemons: list[subprocess.Popen[bytes]] = []
    with (folder / "daemons.log").open("wb") as log:

        def start(*command: str) -> None:
            daemons.append(
                subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
            )

        try:
            key = folder / "munge.key"
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
            folder.chmod(0o755)
            start(
                "munged",
                "--foreground",
                "--force",
                f"--socket={folder}/munge.socket",
                f"--key-file={key}",
                f"--pid-file={folder}/munged.pid",
                f"--log-file={folder}/munged.log",
                f"--seed-file={folder}/munged.seed",
            )
            _wait_for(lambda: (folder / "munge.socket").exists(), "munged", folder)
            start("slurmctld", "-D", "-f", str(configuration))
            start("slurmd", "-D", "-f", str(configuration), "-N", host)
            _wait_for(lambda: _node_state(environment) == "idle", "a node", folder)
            yield environment
        finally:
            subprocess.run(
                ["scancel", "--user=root"],
                env={**os.environ, **environment},
                check=False,
                capture_output=True,
            )
            time.sleep(1)
            for daemon in reversed(daemons):
                daemon.terminate()
            for daemon in daemons:
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _node_state(environment: dict[str, str]) -> str:
    asked = subprocess.run(
        ["sinfo", "-h", "-o", "%t"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def _wait_for(condition, what: str, folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.log"))
            raise RuntimeError(f"{what} did not come up in {seconds:.0f} s:\n{logs}")
        time.sleep(0.2)
