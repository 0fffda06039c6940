"""A Slurm cluster on this computer: one controller and two virtual nodes with a fake GPU each, in a folder of its own
(but for munge's socket).  Needs root and Debian's slurm-wlm and munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
FAKE_GPUS = ("/dev/null", "/dev/zero")
SHORT_ADDRESSES = {"MPIR_CVAR_CH4_NETMOD": "ofi"}
"""UCX's addresses of ranks on two nodes are 9 kB of whatever memory held; now and then one of the lines in which MPICH
tells them is longer than Slurm 22.05 reads, and the job hangs at its start."""
CONFIG = """\
ClusterName=tomotest
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort={control}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=10
GresTypes=gpu
{nodes}
PartitionName=debug Nodes=n[1-2] Default=YES MaxTime=01:00:00 State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; "" if there can."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)}: not installed (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root here"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which commands reach a new cluster that lives in `folder`."""
    _start_munge()
    host = socket.gethostname().split(".")[0]
    control, first, second = _free_ports(3)
    nodes = "\n".join(
        f"NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000 Gres=gpu:1"
        for n, port in ((1, first), (2, second))
    )
    (folder / "state").mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=folder, control=control, nodes=nodes))
    gpus = "".join(f"NodeName=n{n} Name=gpu File={device}\n" for n, device in enumerate(FAKE_GPUS, 1))
    (folder / "gres.conf").write_text(gpus)
    env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), **SHORT_ADDRESSES}
    daemons = [
        subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"])
    ]
    try:
        _wait(lambda: _told(env, "sinfo", "-h", "-o", "%T %D") == "idle 2", f"two idle nodes; see {folder}")
        yield env
    finally:
        _told(env, "scancel", "--partition=debug")
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _start_munge() -> None:
    def answers() -> bool:
        return subprocess.run(["munge", "-n"], capture_output=True).returncode == 0

    if answers():
        return
    run = Path("/run/munge")
    run.mkdir(exist_ok=True)
    shutil.chown(run, "munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", "munged", "--force"], check=True, capture_output=True)
    _wait(answers, "munge to answer")


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _told(env: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip()


def _wait(done: object, what: str, seconds: float = 60) -> None:
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
