"""Hostile configs, in overrides and files: exit 0, or 2 with one sentence; nothing runs, nothing is written outside."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import frostline.commands.run
import frostline.launchers.base
from frostline.commands import main
from frostline.config.allow import instantiate, list_all_targets
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome
from frostline.results.store import run_id
from frostline.runs.trainer import make_trainer
from frostline.training.loggers import make_loggers

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECRET = "hunter2-hunter2"
OUTSIDE = "../victim/here"
TARGETS = [
    "os.system",
    "builtins.open",
    "pathlib.Path.touch",
    "logging.FileHandler",
    "frostline.data.speech.published.fetch",
    "frostline.files.atomic.write_atomic",
    "pytorch_lightning.callbacks.ModelCheckpoint",
    "pytorch_lightning.loggers.CSVLogger",
    "pytorch_lightning.loggers.TensorBoardLogger",
    "pytorch_lightning.loggers.WandbLogger",
    "pytorch_lightning.profilers.PyTorchProfiler",
    "pytorch_lightning.profilers.SimpleProfiler",
    "pytorch_lightning.strategies.DeepSpeedStrategy",
    "torch.optim.SGD",
    "torchvision.transforms.v2.Compose",
    "torchvision.transforms.v2.RandomHorizontalFlip",
]
SCALARS = st.one_of(
    st.sampled_from("a9").map(lambda sign: sign * 5000),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            *(OUTSIDE, "/etc/passwd", "~", ".", "..", "${", "${oc.env:CANARY}", "${oc.env:NOT_THERE}"),
            *("${oc.decode:${oc.env:CANARY}}", "${oc.env:NOT_THERE,x}", "${seed}", "${data}", "${.x}", "${hydra:job}"),
            *(f"https://me:{SECRET}@host/x", f"https://host/?token={SECRET}", "???", "1e400", "\0", "\x1b[2J"),
        ]
    ),
)
NODES = st.fixed_dictionaries(
    {"_target_": st.sampled_from(TARGETS)},
    optional={
        key: SCALARS | st.just(OUTSIDE)
        for key in ("save_dir", "dirpath", "path", "folder", "command", "name", "version", "filename", "lr", "_args_")
    },
)
VALUES = st.recursive(
    SCALARS | NODES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "lr", "size"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *("seed", "epochs", "outputs", "label", "group", "monitor", "cache", "cache.max_gb", "task", "task.loss"),
        *("data", "data.size", "data.root", "augment", "augment.transforms", "backbone", "backbone.weights", "head"),
        *("head.dropout", "adapter", "freeze", "optimizer", "optimizer.lr", "schedule", "trainer", "trainer.strategy"),
        *("trainer.callbacks", "trainer.profiler", "trainer.logger", "trainer.plugins", "trainer.default_root_dir"),
        *("logger", "logger.mine", "launcher", "launcher.workers", "launcher.timeout_s", "launcher.setup", "x", ""),
        *("hydra", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job"),
        *("hydra.job.name", "hydra.job.chdir", "hydra.job.env_set", "hydra.job.env_copy", "hydra.searchpath"),
        *(
            "hydra.callbacks",
            "hydra.job_logging",
            "hydra.job_logging.handlers",
            "hydra.hydra_logging",
            "hydra.launcher",
        ),
        *("hydra.sweeper", "hydra.verbose", "hydra.help.template", "hydra.overrides.hydra", "hydra.overrides.task"),
        *("hydra.runtime.output_dir", "hydra.mode", "hydra.env", "hydra/launcher", "hydra/job_logging", "defaults"),
    ]
)


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return a value under a dotted key, as a file would have it."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(found.get(key), dict) and isinstance(value, dict)
            found[key] = merged([found[key], value]) if both else value
    return found


TREES = st.lists(st.builds(nested, KEYS, VALUES), min_size=1, max_size=3).map(merged)
BOMBS = {
    "levels": b"a: [" * 2000,
    "digits": b"x: " + b"9" * 5000,
    "aliases": b"a: &a0 [x,x,x,x,x,x,x,x]\n"
    + b"".join(b"b%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 8)) for n in range(1, 12)),
    "interpolations": b"_target_: frostline.data.image.datasets.Digits\nk0: xxxxxxxxxx\n"
    + b"".join(b"k%d: %s\n" % (n, b"${.k%d}" % (n - 1) * 10) for n in range(1, 12)),
}
RAW = st.one_of(
    st.sampled_from(sorted(BOMBS)).map(lambda name: BOMBS[name]),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"3\n",
            b"- a\n",
            b"a: 1\na: 2\n",
            b"a: &a [*a]\n",
            b"x: !!binary aGk=\n",
            b"x: !!python/object/apply:os.system ['touch canary']\n",
            b"defaults: 3\n",
            b"defaults: [/hydra/job_logging: default]\n",
            b"defaults: [override hydra/job_logging: default]\n",
            b"defaults: [../../../../etc/x]\n",
        ]
    ),
)
FILES = RAW | TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


def prepared(config: Run) -> Outcome:
    """Stand for a run: make what a config names, as far as that goes without data, in the folder that is its own."""
    folder = Path("outputs/runs") / run_id(config)
    folder.mkdir(parents=True, exist_ok=True)
    plain = config.plain()
    yaml.safe_dump(json.loads(json.dumps(plain)))
    for key in ("task", "augment", "schedule"):
        if "_target_" in plain[key]:
            instantiate(plain[key], key)
    make_trainer(config, folder)
    make_loggers(config, folder)
    return Outcome(folder.name, folder, {"status": "done"}, fresh=True)


class Pretend:
    """Stands for a launcher."""

    workers, running = 1, ()

    def __enter__(self) -> "Pretend":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run_one(self, job: Job) -> Outcome:
        return prepared(job.config)

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome, float]]:
        for job in jobs:
            yield job, prepared(job.config), 0.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, beside one in which nothing may change."""
    for name in ("work/mine/data", "work/mine/experiment", "victim"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CANARY", SECRET)
    monkeypatch.setattr(frostline.commands.run, "make_launcher", lambda configs: Pretend())
    monkeypatch.setattr(frostline.launchers.base, "make_launcher", lambda configs: Pretend())
    return tmp_path


@contextmanager
def untouched(place: Path) -> Iterator[None]:
    """Hold that no file appears but in the output folder, and none with the secret in it."""
    before = listing(place)
    yield
    after = listing(place)
    assert after == before
    assert not any(SECRET.encode() in path.read_bytes() for path in (place / "work").rglob("*.yaml") if path.is_file())


def listing(place: Path) -> set[str]:
    known = {str(path.relative_to(place)) for path in place.rglob("*")}
    return {one for one in known if not re.match(r"work/(outputs|mine)(/|$)", one)}


def held(capsys: pytest.CaptureFixture[str], place: Path, arguments: list[str]) -> None:
    """Run a command, and hold it to its promise."""
    capsys.readouterr()
    with untouched(place):
        try:
            code = main(arguments)
        except SystemExit as ended:  # argparse
            code = ended.code
    shown = capsys.readouterr()
    assert code in (0, 2), shown.err
    assert "Traceback" not in shown.err
    if code == 2 and "usage:" not in shown.err:
        assert shown.err.startswith("frostline: ") and shown.err.count("\n") == 1, shown.err
        assert len(shown.err) < 4000


@SETTINGS
@given(st.lists(st.tuples(st.sampled_from(["", "+", "++", "~"]), KEYS, VALUES | st.text(max_size=20)), max_size=3))
def test_hostile_overrides(capsys: pytest.CaptureFixture[str], place: Path, given: list[tuple[str, str, Any]]) -> None:
    overrides = [f"{how}{key}={value if isinstance(value, str) else json.dumps(value)}" for how, key, value in given]
    held(capsys, place, ["run", *overrides])


@SETTINGS
@given(FILES, st.sampled_from(["data", "experiment"]), st.booleans(), st.booleans())
def test_hostile_files(
    capsys: pytest.CaptureFixture[str], place: Path, content: bytes, group: str, root: bool, sweep: bool
) -> None:
    header = b"# @package _global_\n" if root else b""
    (place / "work" / "mine" / group / "evil.yaml").write_bytes(header + content)
    held(capsys, place, ["run", "--config-dir", "mine", f"{group}=evil", *(["-m", "seed=0"] if sweep else [])])


@settings(parent=SETTINGS, max_examples=200)
@given(st.sampled_from([*list_all_targets(), *TARGETS]), st.sampled_from([*list_all_targets(), *TARGETS]), st.data())
def test_a_nested_node_is_where_its_key_takes_one_or_refused_by_name(
    place: Path, outer: str, inner: str, data: st.DataObject
) -> None:
    """Promise 22: a target at any key of any other."""
    key = data.draw(st.sampled_from(["strategy", "callbacks", "profiler", "transforms", "params", "logger", "x"]))
    group = data.draw(st.sampled_from(["trainer", "data", "optimizer", "augment", "head", "task", "logger", "nothing"]))
    node = {"_target_": inner, "save_dir": OUTSIDE, "dirpath": OUTSIDE, "name": "x"}
    with untouched(place):
        try:
            instantiate(
                {"_target_": outer, key: data.draw(st.sampled_from([node, [node], [[node]], {"y": node}]))}, group
            )
        except UserError as error:
            assert str(error).count("\n") == 0
