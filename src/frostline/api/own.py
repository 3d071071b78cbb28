"""Runs and comparisons of a network and data of one's own, from Python and in this process."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from frostline.backbones.own.network import Groups, OwnNetwork
from frostline.comparison.cells import design
from frostline.comparison.conduct import Sitting
from frostline.comparison.index import Index
from frostline.config.compose import compose, quoted, resolve
from frostline.config.schema import Run
from frostline.data.own.samples import plain_inputs
from frostline.data.own.sources import OwnData, own_data
from frostline.errors import UserError
from frostline.launchers.base import Task
from frostline.launchers.here import Here, leaving_process
from frostline.report import read, write_report
from frostline.results.owner import owned
from frostline.results.store import read_record, run_folder
from frostline.serving.restored import restore

Given = dict[str, Any]
Network = str | nn.Module | OwnNetwork
BATCH = 64
WORD = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_]\w*", re.IGNORECASE)
NODES = frozenset(one.name for one in fields(Run))


def backbone(
    network: nn.Module,
    size: int | None = None,
    *,
    shape: Sequence[int] | None = None,
    dtype: str = "float32",
    groups: Groups | None = None,
    classifier: str | None = None,
    name: str | None = None,
    content: str | None = None,
) -> OwnNetwork:
    """Return a copy of a module with what Frostline must be told of it; it gives one vector a sample.

    ``size`` is short for images of ``shape`` [3, size, size]; without either, samples are like the data's.
    ``classifier`` names a last layer to leave out. ``groups`` maps names, in the order of depth, to modules or
    parameters (globs); None: the network's children. ``content`` is a text that stands for weights and code, where
    these cannot be read.
    """
    if size is not None and shape is not None:
        raise UserError("backbone: size and shape are both given; size=224 is short for shape=[3, 224, 224].")
    shape = [3, size, size] if size is not None else shape
    return OwnNetwork(network, shape, dtype, groups, classifier, name, content)


def tensors(train: Any, val: Any = None, test: Any = None) -> OwnData:
    """Return data of pairs (inputs [N, ...], labels [N, ...]), or of map-style datasets of such pairs.

    Splits that are not given are drawn from train. Raises UserError for anything else.
    """
    return own_data({name: one for name, one in (("train", train), ("val", val), ("test", test)) if one is not None})


@dataclass(frozen=True)
class OwnRun:
    """A run that has ended, whatever its ``status``."""

    folder: Path
    record: dict[str, Any]
    given: Given

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def status(self) -> str:
        return self.record["status"]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The scores of each split. Raises UserError where the run has none."""
        if self.status != "done":
            raise UserError(f"{self.folder}: this run is {self.status}, not done: {self.record['reason']}.")
        return self.record["metrics"]

    def predict(self, inputs: Tensor | np.ndarray, batch_size: int = BATCH) -> list[dict[str, Any]]:
        """Return for each of the inputs [N, ...] its ``prediction`` and the ``probabilities`` of the classes.

        By the network at the run's best epoch. Raises UserError where the run is not done.
        """
        assert self.metrics
        with leaving_process():
            model = restore(self.folder, self.record, given=self.given)
            batches = plain_inputs(inputs).split(batch_size)
            answers = [one for batch in batches for one in model.task.answers(model.classes, model.outputs(batch))]
        return [{"prediction": one.prediction, "probabilities": one.probabilities} for one in answers]


@dataclass(frozen=True)
class OwnComparison:
    """A comparison that has ended: its runs, and the path of its report."""

    folder: Path
    runs: list[OwnRun]
    report: Path


def train(network: Network, data: Any, *overrides: str, **settings: Any) -> OwnRun:
    """Train and test a network on data in this process, by a freeze strategy, and leave a record.

    ``network`` is any module, `backbone`'s or the name of one of Frostline's; ``data`` is what `own_data` takes, or the
    name of a set of Frostline's. ``settings`` are the keys of a config, and a strategy's options: ``freeze="last_k",
    k=2, epochs=5, optimizer={"lr": 0.01}``; ``overrides`` are Hydra's. The same call again returns the same run, or
    goes on with it. Raises UserError for a user's mistake.
    """
    words, given = describe([*overrides, *override_words(settings)], network, data)
    task = Task("run", resolve(compose("run", words)))
    ((_, outcome, _),) = Here(given).run([task])
    if outcome.record.get("user_error"):
        raise UserError(str(outcome.record["reason"]))
    return OwnRun(outcome.folder, outcome.record, given)


def compare(
    network: Network,
    data: Any,
    *overrides: str,
    freeze: Sequence[str | Mapping[str, Any]],
    seeds: Sequence[int] = (0, 1, 2),
    **settings: Any,
) -> OwnComparison:
    """Train a network on data by each strategy with each seed, in this process, and write the report.

    A strategy is a name, or one with options: ``{"last_k": {"k": 2}}``. The rest is as for `train`; overrides of the
    node ``compare`` serve as well, such as ``compare.lr_grid=[0.001,0.01]``. Raises UserError for a user's mistake.
    """
    varied = {"compare": {"strategies": list(freeze), "seeds": list(seeds)}}
    words, given = describe([*overrides, *override_words({**varied, **settings})], network, data, "compare")
    found, started = design(words, None), time.monotonic()
    with owned(Path(found.config.outputs) / "comparisons" / found.name) as folder:
        index = Index.open(folder, found, "frostline.compare from Python")
        before = index.content["wall_seconds"]
        try:
            Sitting(found, index, Here(given)).conduct()
        finally:
            index.set(wall_seconds=before + time.monotonic() - started)
        report = write_report(folder, read([folder]))
    folders = [run_folder(Path(found.config.outputs), row["id"]) for row in index.content["runs"] if not row["trial"]]
    return OwnComparison(folder, [OwnRun(one, read_record(one) or {}, given) for one in folders], report)


def describe(words: Sequence[str], network: Network, data: Any, root: str = "run") -> tuple[list[str], Given]:
    """Return the overrides that stand for a network and data in a config, and the objects themselves.

    Their contents are in the overrides, so that the run's ID knows them; every sample is read for that, once.
    """
    given: Given = {}
    chosen = {word.partition("=")[0].lstrip("+~") for word in words}
    if chosen & {"launcher", "backbone", "data"}:
        raise UserError("launcher, backbone and data: runs of objects are in this process; give the objects alone.")
    words = [*words, f"backbone={network if isinstance(network, str) else 'own'}"]
    words.append(f"data={data if isinstance(data, str) else 'own'}")
    kind: dict[str, Any] = {"shape": None, "dtype": "float32"}
    if not isinstance(data, str):
        own = given["data"] = own_data(data)
        memory_gb = resolve(compose(root, words)).data["memory_gb"]
        kind = own.samples_kind(memory_gb)
        words += override_words({"data": {"content": own.content(memory_gb)}})
        if "task" not in chosen:
            words.append(f"task={own.task(memory_gb)}")
        if isinstance(network, str) and kind["dtype"] == "uint8" and "data.size" not in chosen:
            words.append(f"data.size={kind['shape'][-1]}")
    if not isinstance(network, str):
        own = given["backbone"] = network if isinstance(network, OwnNetwork) else OwnNetwork(network)
        words += override_words({"backbone": own.node(**kind)})
    return words, given


def override_words(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as overrides of Hydra's; a key that a config does not have is an option of the strategy."""
    return [word for key, value in settings.items() for word in _words(key if _is_key(key) else f"freeze.{key}", value)]


def _is_key(key: str) -> bool:
    return key.partition(".")[0] in {*NODES, "compare"}


def _words(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and "." not in key:
        for name, inner in value.items():
            yield from _words(f"{key}.{name}", inner)
    else:
        yield f"{key}={hydra_text(value)}"


def hydra_text(value: Any) -> str:
    """Return a plain value in the grammar of Hydra's overrides. Raises UserError for what has no place in it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if WORD.fullmatch(value) else quoted(value)
    if isinstance(value, Mapping):
        for key in value:
            if not WORD.fullmatch(str(key)):
                raise UserError(f"{key!r}: expected a name of letters, digits and '_'.")
        return "{" + ",".join(f"{key}:{hydra_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(hydra_text(one) for one in value) + "]"
    raise UserError(f"{value!r}: expected a text, a number, a list or a mapping, as a config holds them.")
