"""FSDP: which modules are sharded together, the way there and back, and on two processors the very numbers of DDP."""

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from frostline.allow import allow, instantiate
from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts, suffix
from frostline.backbones.image import timm_backbone
from frostline.config import compose, plain
from frostline.data.base import Preprocess
from frostline.errors import UserError
from frostline.files import write_json
from frostline.freeze.plan import Phase, Train
from frostline.heads import Cosine, Linear
from frostline.ranks import variables
from frostline.results.store import run_folder, run_id
from frostline.training.checkpoint import decode
from frostline.training.module import FineTuner
from frostline.training.optim import constant
from frostline.training.sharded import Undo, check, whole
from frostline.training.units import Unit, example, units

TESTS = Path(__file__).parents[1]
SIZE, ALL, NO_LIMIT = 32, Train(), 1e12


def tuner(backbone: Backbone, head: nn.Module | None = None) -> FineTuner:
    head = head or Linear(backbone.num_features, 10)
    return FineTuner(backbone, head, lambda groups: torch.optim.SGD(groups), 0.1, constant())


def network(name: str, **options: Any) -> Backbone:
    torch.manual_seed(0)
    return timm_backbone(name, "none", size=SIZE, options=options)


def entered(backbone: Backbone, train: dict[str, Train], cached: bool) -> FineTuner:
    """A module in a phase; ``cached`` cuts the backbone below what trains."""
    module = tuner(backbone)
    trains = {name for group in train if group != "head" for name in backbone.groups[group]}
    below = [cut.name for cut in find_cuts(backbone, SIZE) if not cut.parameters & trains]
    module.enter(Phase("phase", 1, train), 0, suffix(backbone, below[-1]) if cached else backbone)
    return module


def held(module: FineTuner, found: Sequence[Unit]) -> list[str]:
    """The names of all parameters in units; each module's, so that a parameter of two units is there twice."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [names[id(p)] for unit in found for member in unit.modules for p in member.parameters()]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_units_follow_the_groups_and_mix_nothing_frozen_with_what_trains(name: str, cached: bool) -> None:
    backbone = network(name)
    last = list(backbone.groups)[-1]
    module = entered(backbone, {last: ALL, "head": ALL}, cached)
    found = units(module, NO_LIMIT)
    owner = {id(dict(backbone.named_parameters())[n]): g for g, names in backbone.groups.items() for n in names}
    for unit in found:
        parameters = [p for member in unit.modules for p in member.parameters()]
        assert unit.trains == {p.requires_grad for p in parameters} == {unit.group in (last, "head")}
        assert {owner.get(id(p), "head") for p in parameters} == {unit.group}
    assert [unit.group for unit in found if not unit.idle] == ([] if cached else list(backbone.groups)[:-1]) + [
        last,
        "head",
    ]
    names = held(module, found)
    assert len(names) == len(set(names)), "a parameter is in two units"


@pytest.mark.parametrize("cached", [False, True])
def test_what_no_modules_call_can_gather_is_left_for_the_whole_network(cached: bool) -> None:
    backbone = network("test_vit", init_values=0.1)
    module = entered(backbone, {"block6": ALL, "head": ALL}, cached)
    left = {name for name, _ in module.named_parameters()} - set(held(module, units(module, NO_LIMIT)))
    tokens = {"backbone.network.cls_token", "backbone.network.pos_embed"}
    scales = {f"backbone.network.blocks.5.ls{number}.gamma" for number in (1, 2)}
    assert {name for name in left if not name.startswith("body.")} == (tokens | scales if cached else tokens)


def test_a_module_that_is_used_but_not_called_goes_with_the_one_that_uses_it() -> None:
    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 8, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.stem(images).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1)

    own = Attentive()
    groups = {part: [f"{part}.{name}" for name, _ in getattr(own, part).named_parameters()] for part in own._modules}
    look = Preprocess(16, 1.0, (0.5,) * 3, (0.5,) * 3, "bicubic")  # type: ignore[arg-type]
    module = entered(Backbone(own, "attentive", groups, look), {"attention": ALL, "head": ALL}, cached=False)
    assert [unit.modules for unit in units(module, NO_LIMIT)] == [[own.stem], [own.attention], [module.head]]


def test_kinds_of_parameters_that_train_have_units_of_their_own() -> None:
    backbone = network("test_vit")
    module = entered(backbone, {"block6": Train(kind="norm"), "head": ALL}, cached=False)
    assert [unit.trains for unit in units(module, NO_LIMIT) if unit.group == "block6"] == [{True}, {False}]
    module = entered(backbone, {"block6": Train(kind="bias"), "head": ALL}, cached=False)
    assert [unit.trains for unit in units(module, NO_LIMIT) if unit.group == "block6"] == [{True, False}]


def test_a_unit_is_no_larger_than_it_must_be() -> None:
    module = entered(network("test_vit"), {"block6": ALL, "head": ALL}, cached=False)
    found = units(module, 70_000)
    assert len(found) > len(units(module, NO_LIMIT))
    assert all(unit.bytes <= 70_000 or len(unit.modules) == 1 for unit in found)


def test_choosing_units_leaves_modes_and_statistics_alone() -> None:
    backbone = network("test_resnet")
    module = entered(backbone, {"stage4": ALL, "head": ALL}, cached=False)
    before = [part.training for part in module.modules()], [buffer.clone() for buffer in backbone.buffers()]
    units(module, NO_LIMIT)
    assert [part.training for part in module.modules()] == before[0]
    assert all(torch.equal(*pair) for pair in zip(backbone.buffers(), before[1], strict=True))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("cached", [False, True])
def test_a_network_comes_back_from_sharding_as_it_was(alone: None, cached: bool) -> None:
    module = entered(network("test_resnet"), {"stage4": ALL, "head": ALL}, cached)
    assert module.backbone.channels_last
    named = dict(module.named_parameters())
    before = {name: (id(p), p.stride(), p.detach().clone()) for name, p in named.items()}
    own = [module, *module.backbone.modules(), *module.head.modules()]
    modules = [(type(part), set(vars(part))) for part in own]
    for _ in range(2):
        found, undo = units(module, NO_LIMIT), Undo(module)
        for unit in found:
            fully_shard(unit.modules, mesh=init_device_mesh("cpu", (1,)))
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
        undo.drop_whole()
        undo.note()
        assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
        assert not any(parameter.numel() for parameter in named.values()), "whole weights are still held"
        module(torch.cat([example(module)] * 2))
        undo.gather()
    after = dict(module.named_parameters())
    assert {name: (id(p), p.stride()) for name, p in after.items()} == {n: v[:2] for n, v in before.items()}
    assert all(torch.equal(after[name], value) for name, (_, _, value) in before.items())
    assert [(type(part), set(vars(part))) for part in own] == modules
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in own)


def test_gathering_leaves_alone_what_is_whole() -> None:
    state = {"a": [torch.ones(2), 1], "b": {"c": None}}
    assert whole(state)["a"][0] is state["a"][0]
    assert whole(state) == state


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_error_says_what_runs_instead() -> None:
    config = plain(compose("run", ["trainer=fsdp"]))
    with pytest.raises(UserError, match="CUDA.*trainer=ddp_cpu"):
        instantiate(config["trainer"], "trainer")


def test_what_cannot_be_sharded_is_refused() -> None:
    backbone = network("test_resnet")
    with pytest.raises(UserError, match="head.scale"):
        check(tuner(backbone, Cosine(backbone.num_features, 10)))
    backbone.compiled = True
    with pytest.raises(UserError, match="backbone.compile"):
        check(tuner(backbone))


@pytest.fixture
def on_processors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let configs name tests/processors.py."""
    monkeypatch.syspath_prepend(str(TESTS))
    allow(["processors"])
    yield
    allow([])


SHARDED = "trainer.strategy={_target_: processors.OnProcessors, unit_mb: 0.1}"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("sync_batchnorm", True, "trainer.sync_batchnorm"), ("precision", "16-mixed", "trainer.precision")],
)
def test_settings_that_do_not_go_with_sharding_are_refused(
    on_processors: None, key: str, value: Any, said: str
) -> None:
    config = plain(compose("run", ["trainer=ddp_cpu", SHARDED, "trainer.devices=1"]))
    trainer: pl.Trainer = instantiate({**config["trainer"], key: value if key != "precision" else "32-true"}, "trainer")
    if key == "precision":  # on a processor Lightning would take bfloat16 in its place
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    with pytest.raises(UserError, match=said):
        trainer.strategy.setup_environment()
    with pytest.raises(UserError, match="unit_mb"):
        instantiate({"_target_": "processors.OnProcessors", "unit_mb": 0.0}, "trainer.strategy")


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a maker of runs on two ranks, by DDP or sharded, that answers with their folders."""

    def folder_of(sharded: bool, *overrides: str, outputs: str = "outputs") -> Path:
        small = ["backbone=timm", "backbone.weights=none", "data=digits", f"data.size={SIZE}", "data.num_per_class=9"]
        small += ["data.batch_size=16", "trainer=ddp_cpu", "+trainer.inference_mode=false", "launcher.threads=1"]
        chosen = [*small, *([SHARDED] if sharded else []), f"outputs={tmp_path / outputs}", *overrides]
        config = plain(compose("run", chosen))
        folder = run_folder(Path(config["outputs"]), run_id(config))
        folder.mkdir(parents=True)
        (folder / "resolved.yaml").write_text(yaml.safe_dump(config))
        return folder

    return folder_of


def train(runs: Sequence[tuple[Path, int | None, Path | None]], tmp_path: Path) -> None:
    """Train runs on two ranks, each until it is stopped, and from another's checkpoints."""
    listed = [{"folder": str(run), "stop": stop, "origin": origin and str(origin)} for run, stop, origin in runs]
    write_json(tmp_path / "runs.json", listed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "processors", str(tmp_path / "runs.json")],
            env={
                **os.environ,
                **variables("test", rank, rank, 2, 2, 0, "127.0.0.1", port),
                "FROSTLINE_ALLOW": "processors",
                "PYTHONPATH": str(TESTS),
            },
        )
        for rank in range(2)
    ]
    assert [rank.wait(300) for rank in ranks] == [0, 0]


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) for name in ("train/loss", "val/loss")]


def last(folder: Path) -> dict[str, Any]:
    return decode(max((folder / "checkpoints").glob("*.safetensors")))


def same(one: Any, other: Any) -> bool:
    """Whether two nested states are equal to the bit."""
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
def test_two_sharded_ranks_do_what_two_whole_ones_do(on_processors: None, make: Make, tmp_path: Path) -> None:
    """Bit-equal, but for what is summed in another order: a channels-last convolution, and the norm that is clipped."""
    cases = {
        "equal": ["backbone.name=test_vit", "+backbone.options={init_values: 0.1}"],
        "close": ["backbone.name=test_resnet", "cache.enabled=false", "trainer.gradient_clip_val=0.1"],
    }
    runs = {
        name: [make(sharded, *case, "freeze=gradual", "epochs=3") for sharded in (False, True)]
        for name, case in cases.items()
    }
    train([(folder, None, None) for pair in runs.values() for folder in pair], tmp_path)
    for name, (plain_run, sharded) in runs.items():
        records = [json.loads((folder / "record.json").read_text()) for folder in (plain_run, sharded)]
        assert [record["status"] for record in records] == ["done", "done"], records[1]["reason"]
        shares = json.loads((sharded / "shares.json").read_text())
        assert shares and max(shares) < 0.55, "a rank holds more than its half between steps"
        one, other = last(plain_run), last(sharded)
        if name == "close":
            assert losses(sharded) == pytest.approx(losses(plain_run), abs=1e-5)
        else:
            assert losses(plain_run) == losses(sharded)
            assert same(one["weights"], other["weights"])
            assert same(one["optimizer"], other["optimizer"])
            assert records[0]["metrics"] == records[1]["metrics"]
            assert (plain_run / "predictions.csv").read_text() == (sharded / "predictions.csv").read_text()


@pytest.mark.slow
def test_a_sharded_run_goes_on_from_any_checkpoint_and_any_run_from_its(
    on_processors: None, make: Make, tmp_path: Path
) -> None:
    case = ["backbone.name=test_vit", "freeze=full", "epochs=3", "optimizer=adamw", "judged=true"]
    once, begun, back = (make(True, *case, outputs=name) for name in ("once", "begun", "back"))
    whole_run, whole_begun = (make(False, *case, outputs=name) for name in ("whole", "whole-begun"))
    others = [(whole_run, None, begun), (whole_begun, 0, None), (back, None, whole_begun)]
    train([(once, None, None), (begun, 1, None), *others, (begun, None, None)], tmp_path)
    assert json.loads((begun / "record.json").read_text())["status"] == "done"
    for folder in (begun, whole_run, back):
        assert losses(folder) == losses(once)
        assert same(last(folder)["weights"], last(once)["weights"])
        assert same(last(folder)["optimizer"], last(once)["optimizer"])
