"""A real SLURM of two nodes on this machine: munge, slurmctld and two slurmd, from Debian's packages.

Real are arrays, srun, signals, time limits, preemption and requeues. The nodes share a host name, a file system and
the cores, memory is not enforced, and there is no accounting, so no sacct. It needs root, no systemd, no cgroups.
"""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2")
UP_S, DOWN_S = 60.0, 15.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# cred_expire is also how long a requeued job waits before it starts again (120 s unless set); config_overrides takes
# the nodes at their word; KillWait is the time from SIGTERM to SIGKILL (30 s unless set). slurmd wants a cgroup plugin
# although nothing uses one: the first version's does nothing until it is used.
CONFIG = """\
ClusterName=lab
SlurmUser=root
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=5
MinJobAge=3600
FirstJobId={first}
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL PriorityTier=1 MaxTime=2 State=UP
"""


def missing() -> str | None:
    """Return why there can be no cluster here, or None where there can."""
    absent = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    return None if os.geteuid() == 0 else "slurmctld and slurmd need root here"


class Lab:
    """The cluster; its daemons are children of this process, and end with ``down``."""

    def __init__(self, folder: Path):
        self.folder = folder  # a socket's path has room for about 100 characters
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen] = []

    def up(self) -> None:
        """Start everything, and wait until both nodes are idle. Raises RuntimeError when they do not come."""
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        text = CONFIG.format(host=host, folder=self.folder, ports=free_ports(3), first=random.randint(1000, 9000))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._start_munge()
        config = ["-D", "-f", str(self.folder / "slurm.conf")]
        self._start("slurmctld", *config)
        for node in NODES:
            self._start("slurmd", "-N", node, *config)
        wait_for(lambda: self("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle", "idle"], UP_S)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(random.randbytes(1024))
        files = {"key-file": key, **{name: self.folder / f"munge.{name[:-5]}" for name in ("pid-file", "seed-file")}}
        files |= {"log-file": self.folder / "munge.log", "socket": self.folder / "munge.socket"}
        # --force: munged dislikes a socket in a folder that others cannot enter, as temporary ones often are
        self._start("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        wait_for(files["socket"].exists, UP_S)

    def _start(self, *words: str) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            started = subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._daemons.append(started)

    def down(self) -> None:
        """Cancel all jobs, and stop the daemons, which would leave the jobs' processes alone."""
        self("scancel", "--user=root")
        wait_for(lambda: not self("squeue", "-h"), UP_S)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(DOWN_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def __call__(self, *words: str) -> str:
        """Return what a command of SLURM's prints, its last line's end left out."""
        done = subprocess.run(words, env=self.environment, text=True, capture_output=True, timeout=60)
        return done.stdout.strip()

    def field(self, job: str, name: str) -> str:
        """Return a field of `scontrol show job`."""
        pairs = self("scontrol", "show", "job", "--oneliner", job).split()
        return next(pair.partition("=")[2] for pair in pairs if pair.startswith(f"{name}="))


def free_ports(count: int) -> Sequence[int]:
    """Return ports that nobody listens on, below those that the kernel gives to clients."""
    found = []
    for port in random.sample(range(26000, 32000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            break
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until ``condition()`` holds. Raises RuntimeError when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so after {seconds:.0f} s: {condition}")
        time.sleep(0.2)
