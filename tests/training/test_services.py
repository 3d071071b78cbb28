"""Loggers that are services: MLflow on a real local server or on none, Weights & Biases offline."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.extras import need

from frostline.config.schema import Run
from frostline.results.record import Record

SECRET = "hunter2-hunter2"
RunOne = Callable[..., tuple[Record, Path]]
Configure = Callable[..., tuple[Run, Path]]
CutShort = Callable[[int], None]


# MLflow


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with a database of its own, ended by its own process group."""
    need("mlflow")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", "sqlite:///runs.db"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log.txt").open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "--workers", "1"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(port, server, folder / "log.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_for(port: int, server: subprocess.Popen, output: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, output.read_text()
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(output.read_text())


@pytest.fixture
def client(mlflow_server: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(mlflow_server)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_a_comparison_together(run: RunOne, mlflow_server: str, client: Any) -> None:
    options = ["logger=mlflow", f"logger.tracking_uri={mlflow_server}", "group=digits-3f"]
    first, _ = run(*options, "label=full-0")
    run(*options, "label=full-1", "seed=1")
    experiment_id = client.get_experiment_by_name("digits-3f").experiment_id
    runs = {one.info.run_name: one for one in client.search_runs([experiment_id])}
    assert set(runs) == {"full-0", "full-1"} and {one.info.status for one in runs.values()} == {"FINISHED"}
    one = runs["full-0"]
    assert one.data.params["optimizer.lr"] == str(first.config["optimizer"]["lr"])
    assert not [key for key in one.data.params if key.startswith("logger")]
    assert one.data.metrics["test/accuracy"] == pytest.approx(first.metrics["test"]["accuracy"])
    assert one.data.metrics["cost/backward_flops"] == first.cost.backward_flops
    assert [row.step for row in client.get_metric_history(one.info.run_id, "val/accuracy")] == [0, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_with_the_same_run(run: RunOne, mlflow_server: str, client: Any, cut_short: CutShort) -> None:
    options = ["logger=mlflow", f"logger.tracking_uri={mlflow_server}"]
    cut_short(1)
    with pytest.raises(KeyboardInterrupt):
        run(*options)
    experiment_id = client.get_experiment_by_name("frostline").experiment_id
    (stopped,) = client.search_runs([experiment_id])
    assert stopped.info.status == "FAILED"
    record, folder = run(*options, "data.workers=1")
    (ended,) = client.search_runs([experiment_id])
    assert ended.info.run_id == stopped.info.run_id and ended.info.run_name == folder.name == record.id
    assert ended.info.status == "FINISHED" and "test/accuracy" in ended.data.metrics
    assert [row.step for row in client.get_metric_history(ended.info.run_id, "val/accuracy")] == [0, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_outlives_a_server_that_is_not_there(
    run: RunOne, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mlflow")
    monkeypatch.setenv("TRACKING", SECRET)
    address = f"http://me:${{oc.env:TRACKING}}@127.0.0.1:{free_port()}"
    started = time.monotonic()
    record, folder = run("logger=mlflow", f"logger.tracking_uri='{address}'")
    assert record.status == "done" and "test" in record.metrics
    (warning,) = [one.getMessage() for one in caplog.records if "left out" in one.getMessage()]
    assert "MLFlowLogger" in warning and SECRET not in warning
    assert time.monotonic() - started < 60
    assert record.cost.seconds < time.monotonic() - started


# Weights & Biases


def wandb_records(folder: Path) -> list[Any]:
    """Return an offline run's records once the last is there: W&B's own process writes on for a moment."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = read_records(folder)
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError("the run has no end")


def read_records(folder: Path) -> list[Any]:
    """Read an offline run's file: protobuf records in LevelDB's log format, in blocks of 32 kB after 7 bytes."""
    messages: Any = import_module("wandb.proto.wandb_internal_pb2")
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            found.append(messages.Record.FromString(whole))
            whole = b""
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_runs_one_after_another(
    run: RunOne, configure: Configure, cut_short: CutShort, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("wandb")
    monkeypatch.setattr(sys, "argv", ["frostline", f"data.token={SECRET}"])
    first, folder = run("logger=wandb", "group=digits-3f", "label=full-0")
    records = wandb_records(folder)
    (start,) = [one.run for one in records if one.WhichOneof("record_type") == "run"]
    assert (start.project, start.run_group, start.display_name) == ("frostline", "digits-3f", "full-0")
    config = {one.key or one.nested_key[0]: one.value_json for row in records for one in row.config.update}
    config |= {one.key: one.value_json for one in start.config.update}
    assert config["optimizer.lr"] == str(first.config["optimizer"]["lr"])
    rows = [{one.nested_key[0]: json.loads(one.value_json) for one in row.history.item} for row in records]
    assert [row["trainer/global_step"] for row in rows if "val/accuracy" in row] == [0, 1]
    (end,) = [row for row in rows if "test/accuracy" in row]
    assert end["test/accuracy"] == pytest.approx(first.metrics["test"]["accuracy"])
    assert [one.exit.exit_code for one in records if one.WhichOneof("record_type") == "exit"] == [0]
    assert not [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]

    cut_short(1)
    with pytest.raises(KeyboardInterrupt):
        run("logger=wandb", "seed=1")
    _, other = configure("logger=wandb", "seed=1")
    records = wandb_records(other)
    (start,) = [one.run for one in records if one.WhichOneof("record_type") == "run"]
    assert start.display_name == other.name and start.run_group == ""
    assert [one.exit.exit_code for one in records if one.WhichOneof("record_type") == "exit"] == [1]
