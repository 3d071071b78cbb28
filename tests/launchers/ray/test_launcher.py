"""Ray: runs on a real cluster of this machine, and whatever a run does, or Ray does to it, costs that run alone."""

import importlib
import json
import math
import operator
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import configs
from tests.extras import need
from tests.tiny import RUN
from tests.worker_processes import ended, gone, within

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.dispatch import Outcome, dispatch, make_environment
from frostline.launchers.ray.cluster import SESSIONS
from frostline.launchers.ray.launcher import Ray
from frostline.launchers.ray.node import carry_out
from frostline.results.record import read_versions
from frostline.results.store import read_record

need("ray")  # the launcher imports it, and sets the environment before
SMALL = [*RUN, "launcher=ray"]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "7" * 32, "RAY_USAGE_STATS_ENABLED": "0"}
ROOT = Path(__file__).parents[3]
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def faulty() -> Iterator[None]:
    """Let configs name the heads of tests/faulty.py, and workers find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"))
        patch.syspath_prepend(str(ROOT / "tests"))  # a run's ID is made of what they find
        allow(["faulty"])
        yield
        allow([])


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    """A cluster of our own, with its dashboard."""
    with configs.make("launcher/ray", outputs="outputs", cpus=1, workers=2, dashboard=True) as made:
        yield made


def make(outputs: Path, *overrides: str) -> Run:
    return resolve(compose("run", [*SMALL, "freeze=linear_probe", f"outputs={outputs}", *overrides]))


def misbehave(outputs: Path, how: str, *overrides: str) -> Job:
    config = make(outputs, "freeze=full", *overrides)
    return Job(how, replace(config, head={"_target_": "faulty.Faulty", "how": how, "after": 3}))


def on(folder: Path) -> int:
    """Wait for a run to be on; return its process."""
    deadline = time.monotonic() + 60
    while not (folder / "owner.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.2)  # until it is written
    return json.loads((folder / "owner.json").read_text())["pid"]


@pytest.mark.slow
def test_a_run_that_is_killed_costs_itself_alone_and_the_same_again_runs_only_that(ray: Ray, tmp_path: Path) -> None:
    """Promises 12 and 13. What a node makes is what `frostline run` makes."""
    good = [Job(f"good {seed}", make(tmp_path, f"seed={seed}")) for seed in (1, 2)]
    bad = [misbehave(tmp_path, "SIGKILL"), misbehave(tmp_path, "hang", "launcher.timeout_s=15")]
    jobs = [good[0], *bad, good[1]]
    ends: dict[str, Outcome] = {job.name: outcome for job, outcome, _ in ray.run(jobs)}
    assert {name: end.record["status"] for name, end in ends.items()} == {
        **{"good 1": "done", "good 2": "done", "SIGKILL": "failed", "hang": "failed"}
    }
    assert "killed by SIGKILL (out of memory?)" in ends["SIGKILL"].record["reason"]
    assert "stopped after launcher.timeout_s=15 seconds" in ends["hang"].record["reason"]
    assert all(read_record(end.folder) == end.record for end in ends.values())
    assert "Phase head ended" in (ends["good 1"].folder / "log.txt").read_text()
    again = {job.name: outcome.fresh for job, outcome, _ in ray.run([*good, bad[0]])}
    assert again == {"good 1": False, "good 2": False, "SIGKILL": True}
    alone = dispatch(make(tmp_path / "alone", "seed=1"))
    assert alone.record["metrics"] == ends["good 1"].record["metrics"]


@pytest.mark.slow
def test_a_run_whose_node_process_is_killed_is_recorded(ray: Ray, tmp_path: Path) -> None:
    hanging = misbehave(tmp_path, "hang")
    going = ray.run(iter([hanging, Job("good", make(tmp_path))]))
    assert next(going)[1].record["status"] == "done"
    assert [job for job, _ in ray.running] == [hanging]
    process = on(hanging.folder)
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    ((_, outcome, _),) = going
    assert outcome.record["status"] == "failed" and "Ray lost the worker" in outcome.record["reason"]
    assert read_record(hanging.folder) == outcome.record and ended(process)


@pytest.mark.slow
def test_leaving_early_stops_what_is_on_and_records_it(ray: Ray, tmp_path: Path) -> None:
    hanging = misbehave(tmp_path, "hang")
    going = ray.run([Job("good", make(tmp_path)), hanging, Job("never", make(tmp_path, "seed=9"))])
    assert next(going)[1].record["status"] == "done"
    process = on(hanging.folder)
    going.close()
    record = read_record(hanging.folder)
    assert record is not None and record["status"] == "interrupted" and "SIGTERM" in record["reason"]
    assert ended(process) and not list(tmp_path.glob("runs/*/owner.json"))
    assert len(list(tmp_path.glob("runs/*"))) == 2 and ray.call(math.gcd, 4, 6) == 2


@pytest.mark.slow
def test_a_call_returns_what_the_function_does(ray: Ray) -> None:
    assert ray.call(math.gcd, 12, 18) == 6
    with pytest.raises(UserError, match="word: 'yes' is invalid"):
        ray.call(importlib.import_module("faulty").refuse, "yes")
    with pytest.raises(ZeroDivisionError):
        ray.call(operator.truediv, 1, 0)
    with pytest.raises(UserError, match=r"_exit: Ray lost the worker"):
        ray.call(os._exit, 0)
    assert ray.call(os.getcwd) == os.getcwd()
    assert ray.call(os.getpid) != ray.call(os.getpid)
    assert ray.call(os.getenv, "CUDA_VISIBLE_DEVICES") == ""


def test_a_runs_process_knows_nothing_of_ray(ray: Ray) -> None:
    """Nor has it the token, with which anything could be run on the cluster."""
    found = ray.call(make_environment, 1)
    assert not [name for name in found if name.startswith("RAY_")] and os.environ["RAY_AUTH_TOKEN"] not in str(found)


def test_the_dashboard_is_for_this_machine_and_asks_for_the_token(ray: Ray) -> None:
    port = int(ray.cluster.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        pass
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]
    assert not [row for row in Path("/proc/net/tcp6").read_text().split() if row.endswith(f":{port:04X}")]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/jobs/")


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss (iproute2) is not installed")
def test_all_that_a_cluster_of_our_own_opens_is_for_this_machine_and_this_user(ray: Ray) -> None:
    """Promise 32: that it asks for a token as well is the second door."""
    folder = ray.cluster._folder
    assert folder is not None and folder.stat().st_mode & 0o777 == 0o700
    own = {link.parent.name for link in within(folder)}
    listed = subprocess.run(["ss", "-H", "-ltnp"], capture_output=True, text=True).stdout.splitlines()
    ours = [line.split()[3] for line in listed if own & set(re.findall(r"pid=(\d+)", line))]
    assert len(ours) > 5
    assert {address.rpartition(":")[0] for address in ours} <= {"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"}, ours


def test_what_does_not_go_together_is_said_before_a_run(ray: Ray, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.num_nodes=2: launcher=ray has one node"):
        list(ray.run([Job("two", make(tmp_path, "trainer.num_nodes=2"))]))
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="outputs: .* cannot be written"):
        list(ray.run([Job("one", make(tmp_path / "file"))]))
    assert not (tmp_path / "runs").exists()
    for override, why in (
        ("launcher.cpus=0", r"launcher\.cpus"),
        ("launcher.gpus=1.5", r"launcher\.gpus: 1\.5 is invalid"),
        ("launcher.gpus=-1", r"launcher\.gpus: -1 is invalid"),
        ("trainer=ddp launcher.gpus=0.5 trainer.accelerator=gpu", r"launcher\.gpus: 0\.5 is invalid with 2 GPUs"),
        ("launcher.gpus=0 trainer.accelerator=gpu", r"launcher\.gpus: 0 is invalid"),
        ("launcher.dashboard=true launcher.address=auto", r"launcher\.dashboard"),
    ):
        with pytest.raises(UserError, match=why):
            make_launcher([make(tmp_path, *override.split())])


def test_an_address_where_nobody_answers_is_said_at_once(tmp_path: Path) -> None:
    """Ray itself would try for two minutes."""
    began = time.monotonic()
    for address, why in (
        ("127.0.0.1:1", "nobody answers at '127.0.0.1:1'"),
        ("somewhere", "expected auto, HOST:PORT or"),
    ):
        with make_launcher([make(tmp_path, f"launcher.address={address}")]) as launcher:
            with pytest.raises(UserError, match=why):
                list(launcher.run([Job("one", make(tmp_path))]))
    assert time.monotonic() - began < 10 and not (tmp_path / "runs").exists()


def test_resources_that_no_node_has_are_refused(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = configs.make("launcher/ray", outputs="outputs", cpus=1000)
    monkeypatch.setitem(vars(greedy), "cluster", ray.cluster)
    with pytest.raises(UserError, match=r"launcher\.cpus=1000, .*no node of the Ray cluster has 1000 CPUs"):
        greedy.call(os.getpid)
    assert ray.workers == 2 and ray.needs == {"num_cpus": 1, "num_gpus": 0}


def test_a_node_that_is_not_as_this_machine_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, token = str(tmp_path), tmp_path / "token"
    with pytest.raises(UserError, match="outputs: node .* does not see what was just written to"):
        carry_out(here, str(token), read_versions(), {}, "math.gcd", 4, 6)
    token.touch()
    assert carry_out(here, str(token), read_versions(), {}, "math.gcd", 4, 6) == 2
    monkeypatch.setenv("PRIVATE", "another")
    assert carry_out(here, str(token), read_versions(), {"PRIVATE": "hunter2"}, "os.getenv", "PRIVATE") == "hunter2"
    with pytest.raises(UserError, match=r"node .* has torch .* in place of 0\.1; install the same"):
        carry_out(here, str(token), {**read_versions(), "torch": "0.1"}, {}, "math.gcd", 4, 6)
    with pytest.raises(UserError, match="cannot enter /nowhere .*folder that all nodes share"):
        carry_out("/nowhere", str(token), read_versions(), {}, "math.gcd", 4, 6)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a cluster that somebody else has started; its environment knows nothing of ours."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FROSTLINE_", "PYTHONPATH"))
    }
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            "--port=0",
            "--num-cpus=2",
        ]
        options = ["--include-dashboard=false", f"--temp-dir={folder}"]
        with subprocess.Popen([*command, *options], env={**own, **TOKEN}, cwd="/", stdout=subprocess.DEVNULL) as head:
            deadline = time.monotonic() + 60
            while not (Path(folder) / "ray_current_cluster").exists():
                assert head.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)
            yield (Path(folder) / "ray_current_cluster").read_text().strip()
            head.terminate()


@pytest.mark.slow
def test_a_cluster_that_runs_already_is_used_and_left_as_it_was(
    frostline: Program, tmp_path: Path, elsewhere: str
) -> None:
    for seeds in ("1,2", "2,3"):
        where = [f"launcher.address={elsewhere}", f"seed={seeds}", "freeze=full"]
        program = frostline("run", "-m", *SMALL, *where, **TOKEN)
        assert program.returncode == 0 and "2 of 2 runs done" in program.stderr, program.stderr
    assert (tmp_path / "outputs").exists() and not list((tmp_path / "outputs").glob(".frost-*"))


@pytest.mark.slow
def test_nothing_of_ray_is_left_when_the_command_ends_or_is_killed(tmp_path: Path) -> None:
    """By Ctrl-C, by SIGTERM behind a script's &, which ignores Ctrl-C, and by kill -9; the same then goes on."""
    config = misbehave(tmp_path, "hang").config
    (tmp_path / "resolved.json").write_text(json.dumps(config.plain()))
    code = (
        "import json; from frostline.config.schema import Run\n"
        "from frostline.launchers.base import Job, make_launcher\n"
        "config = Run.read(json.load(open('resolved.json')))\n"
        "with make_launcher([config]) as launcher:\n    list(launcher.run([Job('one', config)]))"
    )
    folder = Job("one", config).folder
    for number, everyone in ((signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)):
        deaf = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"] if number == signal.SIGTERM else []
        process = subprocess.Popen([*deaf, sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
        run = on(folder)
        (cluster,) = Path("/tmp").glob(f"frost-*.{process.pid}.*")  # other tests may have clusters at the same time
        assert (cluster / SESSIONS).exists()
        assert len(within(cluster)) > 5
        (os.killpg if everyone else os.kill)(process.pid, number)  # Ctrl-C reaches Ray's processes too
        process.wait(40)
        assert ended(run)
        if number != signal.SIGKILL:  # after which two of Ray's agents wait a minute for the others
            assert gone(tmp_path, 30) and gone(Path(f"{cluster} (deleted)"), 30), number
            record = read_record(folder)
            assert record is not None and record["status"] == "interrupted", number
            assert everyone or "SIGTERM" in record["reason"], "it was not asked to end, only killed"
            assert not cluster.exists()
            (folder / "record.json").unlink()
