"""What others on the network, or on the machine, can reach of a run of several ranks: nothing."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import distributed

from frostline.config.compose import compose, resolve
from frostline.files.leftovers import private_folder
from frostline.launchers.dispatch import make_environment
from frostline.launchers.slurm.meeting import free_address
from frostline.ranks.collectives import open_store
from frostline.ranks.place import Place, find_loopback, meet_by_address, meet_by_file, rank_variables
from frostline.results.store import read_record, run_folder, run_id

UNPICKLED = """
import os
if "FROSTLINE_MEETING" in os.environ:
    from torch.distributed import distributed_c10d as c10d
    def told(*_): open(os.environ["CANARY"], "a").write("a pickle was read from a socket")
    c10d._tensor_to_object = told
"""
TCPStore: Any = distributed.TCPStore  # type: ignore[attr-defined]


def listening(folder: Path) -> Iterator[str]:
    """Yield the addresses on which processes of a run listen."""
    own = {path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in text(path)}
    for line in subprocess.run(["ss", "-H", "-ltnp"], capture_output=True, text=True).stdout.splitlines():
        if own & set(re.findall(r"pid=(\d+)", line)):
            yield line.split()[3].rpartition(":")[0]


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.skipif(shutil.which("ss") is None, reason="ss (iproute2) is not installed")
def test_ranks_of_one_machine_listen_to_nobody_beyond_it_and_read_no_pickle(
    ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 32; DDP makes a process group on one device too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(UNPICKLED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    small = ["backbone=timm", "backbone.name=test_vit", "backbone.weights=none", "data=digits", "data.size=32"]
    options = [
        "trainer=ddp_cpu",
        f"trainer.devices={ranks}",
        "freeze=lp_ft",
        "head.solver=null",
        "epochs=8",
        "data.num_per_class=20",
    ]
    config = resolve(compose("run", [*small, *options, "launcher.threads=1", f"outputs={tmp_path}/out"]))
    folder = run_folder(tmp_path / "out", run_id(config))
    folder.mkdir(parents=True)
    (folder / "resolved.yaml").write_text(yaml.safe_dump(config.plain()))
    command = [sys.executable, "-P", "-m", "frostline.launchers.worker", str(folder / "resolved.yaml")]
    seen: list[str] = []
    with subprocess.Popen(command, env=make_environment(1), stderr=subprocess.DEVNULL) as leader:
        while leader.poll() is None:
            seen += listening(folder)
            time.sleep(0.2)
    record = read_record(folder)
    assert record is not None and record["status"] == "done", record
    assert seen and set(seen) == {"127.0.0.1"}, set(seen)
    assert not (tmp_path / "canary").exists()


def test_a_store_of_several_machines_hears_its_own_address_alone() -> None:
    """torch's own answers on every address: here a key is set, and asked for, from two of them."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    store = open_store(Place(0, 0, 1, meet_by_address("127.0.0.1", port)))
    store.set("key", "of a rank")
    limit = timedelta(seconds=2)
    assert TCPStore("127.0.0.1", port, 1, False, limit).get("key") == b"of a rank"
    with pytest.raises(distributed.DistNetworkError):
        TCPStore("127.0.0.2", port, 1, False, limit).set("key", "of a stranger")
    assert store.get("key") == b"of a rank"


def test_ranks_of_one_machine_meet_where_no_other_user_can_enter() -> None:
    with private_folder() as private:
        assert private.stat().st_mode & 0o777 == 0o700
        stores = [open_store(Place(rank, rank, 2, meet_by_file(private))) for rank in range(2)]
        stores[0].set("key", "value")
        assert stores[1].get("key") == b"value"
    assert not private.exists()


def test_what_ranks_open_stays_on_their_machine_unless_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)

    def interfaces(meeting: str) -> set[str]:
        given = rank_variables("run", 0, 0, 2, 2, 0, meeting)
        return {value for name, value in given.items() if name.endswith("SOCKET_IFNAME")}

    assert interfaces(meet_by_file(Path("/tmp/x"))) == {find_loopback()}
    assert interfaces(meet_by_address("nowhere.invalid", 1)) == set()
    assert interfaces(meet_by_address("127.0.0.1", 1)) == {find_loopback()}, "the way to where they meet"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    assert interfaces(meet_by_address("127.0.0.1", 1)) == set(), "the user's own is left alone"


def test_what_is_compiled_lies_where_no_other_user_can_put_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert Path(make_environment(1)["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(Path.home())
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/mine")
    assert make_environment(1)["TORCHINDUCTOR_CACHE_DIR"] == "/mine"


def test_a_node_gives_the_address_that_the_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own name may mean 127.0.1.1, as on Debian, which is of no use to another."""
    ways = {"n1": "127.0.1.1", "n2": "0.0.0.0"}
    monkeypatch.setattr("frostline.launchers.slurm.meeting.find_way", ways.get)
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert free_address(["n0", "n1", "n2"])[0] == "0.0.0.0"
    host, port = free_address(["n0", "n1"])  # where none of the names says anything
    assert host == "127.0.0.1" and port > 0
