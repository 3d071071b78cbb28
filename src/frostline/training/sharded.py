"""FSDP: a fit in which each rank holds a part of the weights, the gradients and the optimizer's state."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed._composable_state import _module_state_mapping  # nothing public forgets a module
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from frostline.errors import UserError
from frostline.training.module import FineTuner
from frostline.training.objectives.base import Penalised
from frostline.training.units import Unit, divide_into_units, make_sample

log = logging.getLogger(__name__)


class Sharded(DDPStrategy):
    """Fully sharded training by torch's ``fully_shard`` (FSDP2; Zhao et al. 2023, arXiv:2304.11277, is its idea).

    A fit begins with a whole network on each rank, shards it, and ends with a whole one again: a phase with other
    trainable parameters is sharded anew, and all that comes between fits knows nothing of it. So what it divides is
    the memory of training (weights, gradients, optimizer); to extract activations and to test, each device holds the
    network once. ``unit_mb`` is how many megabytes of weights are gathered together.

    In bf16-mixed, weights are gathered in bfloat16 where autocast would cast them and in float32 where it would not
    (norms, embeddings, tokens), so the numbers are those of DDP; gradients are summed in float32.

    Shown on two processors by the tests, through gloo: the numbers of DDP, checkpoints and pauses that go both ways.
    Nothing here was run on several GPUs yet.
    """

    device = "cuda"

    def __init__(self, unit_mb: float = 64.0):
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "trainer: fsdp needs CUDA devices, and there is none here; trainer=ddp_cpu runs on processors."
            )
        if unit_mb <= 0:
            raise UserError(f"trainer.strategy.unit_mb: {unit_mb} is invalid: expected a number above 0.")
        super().__init__()
        self.unit_mb = unit_mb
        self.units: list[Unit] = []
        self._undo: Undo | None = None

    def setup_environment(self) -> None:
        """Refuse, before anything is trained, what does not go together with sharded weights."""
        if isinstance(self.precision_plugin, MixedPrecision) and self.precision_plugin.scaler is not None:
            raise UserError("trainer.precision: 16-mixed scales a loss, which fsdp cannot; use bf16-mixed or 32-true.")
        super().setup_environment()

    def model_to_device(self) -> None:
        """Bring a whole network to the device, except to be trained: then each unit is brought as it is sharded.

        Until then it waits in main memory, whereto it must be brought back where it has computed activations.
        """
        assert self.model is not None
        self.model.to("cpu" if self._fits() else self.root_device)

    def configure_ddp(self) -> None:
        """Shard the network, where Lightning's strategy wraps it."""
        module = self.lightning_module
        assert isinstance(module, FineTuner)
        check_shardable(module)
        self.units = divide_into_units(module, self.unit_mb * 1e6, self._lower())
        self._undo = Undo(module)
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        outermost: list[nn.Module] = [module]
        for modules, dtype in (*[(unit.modules, unit.dtype) for unit in self.units], (outermost, None)):
            _copy_views(modules[-1])
            fully_shard(modules, mesh=mesh, reshard_after_forward=True, mp_policy=choose_precision(dtype))
            self._undo.drop_whole()
        register_fsdp_forward_method(module, "compute_loss")  # whose first part would else be taken for the root
        self._undo.note()
        log.info("Sharded %d units over %d ranks.", len(self.units), self.world_size)

    def setup_optimizers(self, trainer: "pl.Trainer") -> None:
        """Make the optimizer, and divide a restored state as its parameters are divided."""
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                assert isinstance(parameter, DTensor)
                state.update({name: _divide_like(parameter, value) for name, value in state.items()})

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Validate a batch; a rank that has none left runs a sample of zeros, since all must gather together."""
        module = self.lightning_module
        assert isinstance(module, FineTuner)
        if self._undo is not None and not len(args[0]["index"]):
            with self.precision_plugin.val_step_context():
                module(make_sample(module).to(self.root_device))
        return super().validation_step(*args, **kwargs)

    def on_train_end(self) -> None:
        """Give each rank the whole network back."""
        assert self._undo is not None
        self.optimizers = []
        self._undo.gather()
        self.units, self._undo = [], None

    def teardown(self) -> None:
        """Put everything away, but for a network that an exception leaves sharded: it is moved no more."""
        if self._undo is None:
            super().teardown()

    def _lower(self) -> torch.dtype | None:
        """Return the precision of autocast: that of bf16-mixed, as 16-mixed is refused."""
        return torch.bfloat16 if isinstance(self.precision_plugin, MixedPrecision) else None

    def _fits(self) -> bool:
        module = self.lightning_module
        return module is not None and module.trainer.state.fn == TrainerFn.FITTING


class Undo:
    """What ``fully_shard`` changes in modules, and the way back, which it does not offer.

    It changes, in place, their classes, hooks and parameters, and adds attributes. The parameters that were there
    before stay, empty, and get their values back.
    """

    def __init__(self, root: nn.Module):
        self.modules = list(root.modules())
        self.classes = [type(module) for module in self.modules]
        self.hooks = [{name: set(entries) for name, entries in _hooks(module)} for module in self.modules]
        self.attributes = [set(vars(module)) for module in self.modules]
        self.added: list[set[str]] = []
        self.parameters = [dict(module._parameters) for module in self.modules]
        whole = {id(p): p for own in self.parameters for p in own.values() if p is not None}
        self.layouts = {p: (p.shape, p.stride()) for p in whole.values()}
        for parameter in self.layouts:
            parameter.data = parameter.data.contiguous()  # a channels-last weight cannot be sharded

    def drop_whole(self) -> None:
        """Free the whole values of the parameters that have been sharded by now."""
        for module, own in zip(self.modules, self.parameters, strict=True):
            for name, parameter in own.items():
                if parameter is not None and module._parameters[name] is not parameter:
                    parameter.data = parameter.data.new_empty(0)

    def note(self) -> None:
        """Note the attributes that were added; those that come later are not the sharding's."""
        self.added = [set(vars(m)) - before for m, before in zip(self.modules, self.attributes, strict=True)]

    @torch.no_grad()
    def gather(self) -> None:
        """Fill the parameters from all ranks, in main memory, and put everything back in its place."""
        filled: set[nn.Parameter] = set()
        for module, own in zip(self.modules, self.parameters, strict=True):
            for name, parameter in own.items():
                if parameter is not None and parameter not in filled:
                    filled.add(parameter)
                    shape, stride = self.layouts[parameter]
                    value = gather_whole(module._parameters[name])
                    parameter.data = torch.empty_strided(shape, stride, dtype=value.dtype).copy_(value)
        for place, module in enumerate(self.modules):
            self._restore(place, module)

    def _restore(self, place: int, module: nn.Module) -> None:
        module.__class__ = self.classes[place]
        module._parameters.update(self.parameters[place])
        for name in self.added[place]:
            del module.__dict__[name]
        for name, entries in _hooks(module):
            for key in set(entries) - self.hooks[place][name]:
                del entries[key]
        _module_state_mapping.pop(module, None)


def choose_precision(dtype: torch.dtype | None) -> MixedPrecisionPolicy:
    """Return what lets a unit's weights be gathered in ``dtype`` (None: their own), and nothing else be changed.

    Autocast is there all the while, and casts what else is to be cast; gradients are summed over the ranks in float32,
    as DDP does.
    """
    return MixedPrecisionPolicy(dtype, None if dtype is None else torch.float32, cast_forward_inputs=False)


def check_shardable(module: FineTuner) -> None:
    """Refuse a network that cannot be sharded. Raises UserError."""
    if module.backbone.compiled:
        raise UserError("backbone.compile: a compiled network cannot be sharded; use false, or trainer=ddp.")
    if any(isinstance(part, nn.SyncBatchNorm) for part in module.backbone.modules()):
        raise UserError("trainer.sync_batchnorm: not with fsdp; use trainer=ddp, or backbone.batch_norm=frozen.")
    if isinstance(module.objective, Penalised):
        raise UserError("objective: a penalty may read whole weights, which fsdp divides; use trainer=ddp.")
    scalars = [
        name
        for part, root in (("backbone", module.backbone), ("head", module.head))
        for name, parameter in root.named_parameters(part)
        if not parameter.ndim
    ]
    if scalars:
        raise UserError(f"trainer: fsdp cannot divide a single number, such as {scalars[0]}; use trainer=ddp.")


def gather_whole(value: Any) -> Any:
    """Return nested dicts and lists with what the ranks divide among them gathered, on the CPU; all must call it."""
    if isinstance(value, DTensor):
        with torch.no_grad():
            return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {key: gather_whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [gather_whole(item) for item in value]
    return value


def _divide_like(parameter: DTensor, value: Any) -> Any:
    """Return this rank's part of a whole tensor that goes with a parameter (a moment); anything else as it is."""
    if not isinstance(value, Tensor) or isinstance(value, DTensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _copy_views(module: nn.Module) -> None:
    """Let the last module of a unit give no view: work in place on it would drop the hook that gathers for backward."""

    def own(module: nn.Module, inputs: Any, output: Any) -> Any:
        return tree_map_only(Tensor, lambda part: part if part._base is None else part.clone(), output)

    module.register_forward_hook(own)


def _hooks(module: nn.Module) -> list[tuple[str, dict[Any, Any]]]:
    return [(name, value) for name, value in vars(module).items() if "_hooks" in name and isinstance(value, dict)]
