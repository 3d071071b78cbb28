"""FSDP: which modules are sharded together, and the way there and back."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from tests import configs
from tests.processors import OnProcessors
from tests.tuners import make_tuner
from torch import Tensor, distributed, nn
from torch._subclasses import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts, suffix
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.config.allow import instantiate
from frostline.config.compose import compose, resolve
from frostline.data.inputs import Pixels
from frostline.errors import UserError
from frostline.freeze.plan import Phase, Train
from frostline.heads import Cosine, Linear
from frostline.training.module import FineTuner
from frostline.training.objectives.base import Penalised
from frostline.training.objectives.task import TaskLoss
from frostline.training.sharded import Undo, check_shardable, gather_whole
from frostline.training.units import Unit, divide_into_units, make_sample

TESTS = Path(__file__).parents[1]
SIZE, ALL, NO_LIMIT = 32, Train(), 1e12


def tuner(backbone: Backbone, head: nn.Module | None = None) -> FineTuner:
    head = head or Linear(backbone.num_features, 10, solver=None, dropout=0.0)
    return make_tuner(backbone, head)


def network(name: str, **options: Any) -> Backbone:
    torch.manual_seed(0)
    return configs.make("backbone/timm", name=name, weights="none", size=SIZE, options=options)


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
    found = divide_into_units(module, NO_LIMIT)
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
    left = {name for name, _ in module.named_parameters()} - set(held(module, divide_into_units(module, NO_LIMIT)))
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
    look = Pixels(16, 1.0, (0.5,) * 3, (0.5,) * 3, "bicubic")  # type: ignore[arg-type]
    module = entered(ImageBackbone(own, "attentive", groups, look), {"attention": ALL, "head": ALL}, cached=False)
    assert [unit.modules for unit in divide_into_units(module, NO_LIMIT)] == [
        [own.stem],
        [own.attention],
        [module.head],
    ]


def test_kinds_of_parameters_that_train_have_units_of_their_own() -> None:
    backbone = network("test_vit")
    module = entered(backbone, {"block6": Train(kind="norm"), "head": ALL}, cached=False)
    assert [unit.trains for unit in divide_into_units(module, NO_LIMIT) if unit.group == "block6"] == [{True}, {False}]
    module = entered(backbone, {"block6": Train(kind="bias"), "head": ALL}, cached=False)
    assert [unit.trains for unit in divide_into_units(module, NO_LIMIT) if unit.group == "block6"] == [{True, False}]


def test_a_unit_is_no_larger_than_it_must_be() -> None:
    module = entered(network("test_vit"), {"block6": ALL, "head": ALL}, cached=False)
    found = divide_into_units(module, 70_000)
    assert len(found) > len(divide_into_units(module, NO_LIMIT))
    assert all(unit.bytes <= 70_000 or len(unit.modules) == 1 for unit in found)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_under_autocast_what_it_casts_is_gathered_cast_and_nothing_else(name: str, cached: bool) -> None:
    """A weight of a norm, rounded, would give other numbers; BatchNorm would refuse it beside its statistics."""
    backbone = network(name)
    module = entered(backbone, {list(backbone.groups)[-1]: ALL, "head": ALL}, cached)
    found = [unit for unit in divide_into_units(module, NO_LIMIT, torch.bfloat16) if not unit.idle]
    products = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    cast = {parameter for part in products for parameter in part.parameters()}
    for unit in found:
        assert all((parameter in cast) == (unit.dtype is torch.bfloat16) for parameter in unit.parameters)
        assert unit.trains == {parameter.requires_grad for parameter in unit.parameters}
    every = [parameter for unit in found for parameter in unit.parameters]
    assert len(every) == len(set(every)) and {unit.dtype for unit in found} == {torch.bfloat16, None}
    assert sum(unit.bytes for unit in found) < 0.6 * sum(parameter.nbytes for parameter in every)
    assert {unit.dtype for unit in divide_into_units(module, NO_LIMIT)} == {None}


@pytest.mark.parametrize(("stage", "there"), [(TrainerFn.FITTING, "cpu"), (TrainerFn.TESTING, "cuda")])
def test_a_network_waits_in_main_memory_for_its_parts_to_be_brought_to_the_device(stage: TrainerFn, there: str) -> None:
    """Also where an earlier pass has brought all of it to the device."""
    strategy = OnProcessors()
    strategy.parallel_devices = [torch.device("cuda", 0)]
    with FakeTensorMode():
        module = pl.LightningModule()
        module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        module.trainer.state.fn = stage
        for device in ("cpu", "cuda:0"):
            module.register_buffer("held", torch.zeros(2, device=device))  # a fake parameter cannot be moved
            strategy.connect(module)
            strategy.model_to_device()
            assert module.get_buffer("held").device.type == there


def test_a_network_that_an_exception_leaves_sharded_stays_where_it_is(alone: None) -> None:
    """Moving its parts could hide the exception behind another."""
    strategy, module = OnProcessors(), entered(network("test_resnet"), {"head": ALL}, cached=False)
    strategy.connect(module)
    strategy.optimizers = [torch.optim.SGD(module.head.parameters())]
    strategy._undo = Undo(module)
    module.cpu = lambda: pytest.fail("it was moved")
    strategy.teardown()


def test_choosing_units_leaves_modes_and_statistics_alone() -> None:
    backbone = network("test_resnet")
    module = entered(backbone, {"stage4": ALL, "head": ALL}, cached=False)
    before = [part.training for part in module.modules()], [buffer.clone() for buffer in backbone.buffers()]
    divide_into_units(module, NO_LIMIT)
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
        found, undo = divide_into_units(module, NO_LIMIT), Undo(module)
        for unit in found:
            fully_shard(unit.modules, mesh=init_device_mesh("cpu", (1,)))
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
        undo.drop_whole()
        undo.note()
        assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
        assert not any(parameter.numel() for parameter in named.values()), "whole weights are still held"
        module(torch.cat([make_sample(module)] * 2))
        undo.gather()
    after = dict(module.named_parameters())
    assert {name: (id(p), p.stride()) for name, p in after.items()} == {n: v[:2] for n, v in before.items()}
    assert all(torch.equal(after[name], value) for name, (_, _, value) in before.items())
    assert [(type(part), set(vars(part))) for part in own] == modules
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in own)


def test_gathering_leaves_alone_what_is_whole() -> None:
    state = {"a": [torch.ones(2), 1], "b": {"c": None}}
    assert gather_whole(state)["a"][0] is state["a"][0]
    assert gather_whole(state) == state


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_error_says_what_runs_instead() -> None:
    config = resolve(compose("run", ["trainer=fsdp"]))
    with pytest.raises(UserError, match="CUDA.*trainer=ddp_cpu"):
        instantiate(config.trainer, "trainer")


def test_what_cannot_be_sharded_is_refused() -> None:
    backbone = network("test_resnet")
    with pytest.raises(UserError, match="head.scale"):
        check_shardable(tuner(backbone, Cosine(backbone.num_features, 10, scale=16.0, solver=None)))
    with pytest.raises(UserError, match="objective: a penalty"):
        head = Linear(backbone.num_features, 10, solver=None, dropout=0.0)
        check_shardable(make_tuner(backbone, head, objective=Penalised(TaskLoss(), {})))
    backbone.compiled = True
    with pytest.raises(UserError, match="backbone.compile"):
        check_shardable(tuner(backbone))
    backbone.compiled = False
    backbone.synchronise()
    with pytest.raises(UserError, match=r"^trainer\.sync_batchnorm: not with fsdp"):
        check_shardable(tuner(backbone))
