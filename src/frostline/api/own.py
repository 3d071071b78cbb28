"""Runs and comparisons of a network and data of one's own, from Python and in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from torch import Tensor, nn

from frostline.api.comparisons import ComparisonResult, run_comparison
from frostline.api.overrides import make_overrides
from frostline.api.results import RunResult
from frostline.backbones.own.network import GroupPatterns, OwnNetwork
from frostline.comparison.cells import make_design
from frostline.config.compose import compose, resolve
from frostline.config.schema import Compare
from frostline.data.own.samples import make_plain_inputs
from frostline.data.own.sources import OwnData, as_own_data
from frostline.errors import UserError
from frostline.launchers.base import Job
from frostline.launchers.here import Here, leaving_process
from frostline.launchers.progress import Screen
from frostline.serving.restored import restore

Given = dict[str, Any]
Network = str | nn.Module | OwnNetwork
BATCH = 64
NODES = frozenset(one.name for one in fields(Compare))


def backbone(
    network: nn.Module,
    size: int | None = None,
    *,
    shape: Sequence[int] | None = None,
    dtype: str = "float32",
    groups: GroupPatterns | None = None,
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
    return as_own_data({name: one for name, one in (("train", train), ("val", val), ("test", test)) if one is not None})


@dataclass(frozen=True)
class OwnRun(RunResult):
    """A run of objects that are ``given``, whatever its status."""

    given: Given = field(default_factory=dict)

    def predict(self, inputs: Tensor | np.ndarray, batch_size: int = BATCH) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return for each of the inputs [N, ...] its ``prediction`` and the ``probabilities`` of the classes.

        By the network at the run's best epoch. Raises UserError where the run is not done.
        """
        assert self.metrics and self.record
        with leaving_process():
            model = restore(self.folder, self.record, given=self.given)
            batches = make_plain_inputs(inputs).split(batch_size)
            answers = [one for batch in batches for one in model.task.answers(model.classes, model.outputs(batch))]
        return [{"prediction": one.prediction, "probabilities": one.probabilities} for one in answers]


@dataclass(frozen=True)
class OwnComparison(ComparisonResult):
    """A comparison of runs of objects that are ``given``."""

    given: Given = field(default_factory=dict)

    def _run(self, row: Mapping[str, Any]) -> OwnRun:
        return OwnRun(super()._run(row).folder, given=self.given)


def train(network: Network, data: Any, *overrides: str, **settings: Any) -> OwnRun:
    """Train and test a network on data in this process, by a freeze strategy, and leave a record.

    ``network`` is any module, `backbone`'s or the name of one of Frostline's; ``data`` is what `as_own_data` takes,
    or the name of a set of Frostline's. ``settings`` are the keys of a config, and a strategy's options:
    ``freeze="last_k", k=2, epochs=5, optimizer={"lr": 0.01}``; ``overrides`` are Hydra's. The same call again returns
    the same run, or goes on with it. Raises UserError for a user's mistake.
    """
    words, given = describe(make_overrides(overrides, with_options(settings)), network, data)
    job = Job("run", resolve(compose("run", words)))
    outcome = Here(given).run_one(job)
    assert outcome is not None, "runs in this process end before the next line"
    if outcome.record.get("user_error"):
        raise UserError(str(outcome.record["reason"]))
    return OwnRun(outcome.folder, given=given)


def compare(
    network: Network,
    data: Any,
    *overrides: str,
    freeze: Sequence[str | Mapping[str, Any]],
    seeds: Sequence[int] = (0, 1, 2),
    quiet: bool = False,
    **settings: Any,
) -> OwnComparison:
    """Train a network on data by each strategy with each seed, in this process, and write the report.

    A strategy is a name, or one with options: ``{"last_k": {"k": 2}}``. The rest is as for `train`; overrides of the
    node ``compare`` serve as well, such as ``compare.lr_grid=[0.001,0.01]``. ``quiet``: nothing is shown. Raises
    UserError for a user's mistake.
    """
    varied = {"compare": {"strategies": list(freeze), "seeds": list(seeds)}}
    words, given = describe(make_overrides(overrides, {**varied, **with_options(settings)}), network, data, "compare")
    folder = run_comparison(make_design(words, None), "frostline.compare from Python", Screen(quiet), Here(given))
    return OwnComparison(folder, given=given)


def with_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which a key that no config has is an option of the strategy: ``k`` is ``freeze.k``."""
    return {key if key.partition(".")[0] in NODES else f"freeze.{key}": value for key, value in settings.items()}


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
        own = given["data"] = as_own_data(data)
        memory_gb = resolve(compose(root, words)).data["memory_gb"]
        kind = own.samples_kind(memory_gb)
        words += make_overrides((), {"data": {"content": own.content(memory_gb)}})
        if "data.name" not in chosen:
            words += make_overrides((), {"data": {"name": own.name}})
        if "task" not in chosen:
            words.append(f"task={own.task(memory_gb)}")
        if isinstance(network, str) and kind["dtype"] == "uint8" and "data.size" not in chosen:
            words.append(f"data.size={kind['shape'][-1]}")
    if not isinstance(network, str):
        own = given["backbone"] = network if isinstance(network, OwnNetwork) else OwnNetwork(network)
        words += make_overrides((), {"backbone": own.node(**kind)})
    return words, given
