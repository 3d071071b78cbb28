"""Steps on a GPU that is not there: nothing lies on two devices, and no step but every 16th waits for the GPU."""

import itertools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make
from tests.sequences import SMALL, tiny, transformer
from tests.speech_networks import OTHERS, WAVEFORMS, extractor
from tests.text_networks import FAMILIES
from tests.text_networks import saved as saved_text
from tests.tuners import make_tuner
from tests.waits import GPU, inputs_like, like, mixed, on_gpu
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from frostline.backbones.base import Backbone
from frostline.backbones.chains.backbone import POOLING
from frostline.backbones.cuts import find_cuts, make_prefix, make_suffix
from frostline.data.image.augment import Light, draw
from frostline.data.image.operations import Operation
from frostline.data.image.policies import FAMILIES as FAMILIES_OF_OPERATIONS
from frostline.data.inputs import Inputs, Ragged
from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Train
from frostline.heads import Linear
from frostline.tasks.base import Task
from frostline.tasks.ctc import Ctc
from frostline.tasks.multiclass import Multiclass
from frostline.tasks.multilabel import Multilabel
from frostline.tasks.regression import Regression
from frostline.training.module import CHECK_EVERY, FineTuner

transformers: Any = import_module("transformers")
CLASSES = ["a", "b", "c"]
LABELS: dict[type[Task], Tensor] = {
    Multiclass: torch.tensor([0, 1, 2, 0]),
    Multilabel: torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1]]),
    Regression: torch.tensor([1.0, 2.5, 3.0, 9.0], dtype=torch.float64),
    Ctc: torch.tensor([[0, 1], [2, -1], [1, 1], [0, -1]]),
}
TASKS: dict[str, Callable[[], Task]] = {
    "multiclass": lambda: make("task/multiclass", label_smoothing=0.0),
    "multiclass smoothed": lambda: make("task/multiclass"),
    "multiclass balanced": lambda: make("task/multiclass", class_weights="balanced", label_smoothing=0.0),
    "multiclass weighted": lambda: make("task/multiclass", class_weights=[1.0, 2.0, 3.0], label_smoothing=0.0),
    "multilabel": lambda: make("task/multilabel"),
    "multilabel balanced": lambda: make("task/multilabel", class_weights="balanced"),
    "multilabel weighted": lambda: make("task/multilabel", class_weights=[1.0, 2.0, 3.0]),
    **{f"regression {loss}": lambda loss=loss: Regression(loss) for loss in ("mse", "huber", "mae")},
    "ctc": lambda: make("task/ctc"),
}
HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": lambda features, classes: Linear(features, classes, dropout=0.1, solver=None),
    "mlp": lambda features, classes: make("head/mlp", features=features, classes=classes),
    "cosine": lambda features, classes: make("head/cosine", features=features, classes=classes),
    "frames": lambda features, classes: make("head/ctc", features=features, classes=classes),
}
PAIRS = [(task, head) for task in TASKS for head in HEADS if (task == "ctc") == (head == "frames")]


def tuner(backbone: Backbone, head: nn.Module, task: Task) -> FineTuner:
    return make_tuner(backbone, head, task, torch.optim.AdamW, 0.01)


def batch_of(inputs: Any, labels: Tensor) -> dict[str, Any]:
    """Return a batch as it has come to the GPU."""
    index = torch.arange(len(labels), device=GPU)
    return {"inputs": inputs_like(inputs), "label": like(labels), "index": index, "weight": like(torch.tensor(1.0))}


def step(module: FineTuner, batch: dict[str, Any]) -> None:
    """Take the losses of a few steps, and one of the optimizer with any gradients, and validate."""
    for place in range(1, 3):
        loss = module.training_step(batch, place)
        assert loss.device == GPU
    optimizer = module.configure_optimizers()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    with torch.inference_mode():
        module.validation_step(batch, 0)
    assert module.tally.rows().device == module.outputs[0]["outputs"].device == GPU


@pytest.mark.parametrize(("task_name", "head_name"), PAIRS)
def test_no_step_of_a_task_and_a_head_waits(task_name: str, head_name: str) -> None:
    task = TASKS[task_name]()
    labels = LABELS[type(task)]
    task.fit(labels, CLASSES)
    backbone = tiny("none" if task.is_sequence else "mean")
    module = tuner(backbone, HEADS[head_name](backbone.num_features, task.width(CLASSES)), task)
    inputs = backbone.example(4, 10)
    with on_gpu(module) as waits:
        module.enter(strategies.full(tuple(backbone.groups), 1).phases[0], 0, backbone)
        batch = batch_of(inputs, labels)
        step(module, batch)
        once = waits.take()
        with mixed(torch.bfloat16):
            step(module, batch)
    # torch's own loss of CTC takes the lengths of what it is given, and of labels, to the processor
    theirs = [wait for wait in waits.found if "cuda:0 to cpu" in wait and "ctc.py" in wait]
    assert waits.found == theirs and len(theirs) == 4 * task.is_sequence
    sent = getattr(task, "weights", None) is not None
    assert len(once) == len(theirs) + sent, "weights of classes are sent, in the first step alone"


def image_tuner(optimizer: Callable[..., Any] = torch.optim.AdamW) -> FineTuner:
    backbone = make("backbone/timm", name="test_vit", weights="none", size=32, options={})
    head = Linear(backbone.num_features, 3, solver=None, dropout=0.0)
    return make_tuner(backbone, head, make=optimizer, rate=0.01)


def test_every_16th_step_looks_at_the_loss_and_no_other() -> None:
    module = image_tuner()
    inputs = module.backbone.example(4, 32)
    with on_gpu(module) as waits:
        module.enter(Phase("head", 1, {"head": Train()}), 0, module.backbone)
        batch = batch_of(inputs, LABELS[Multiclass])
        for place in range(2 * CHECK_EVERY):
            if place % CHECK_EVERY:
                module.training_step(batch, place)
            else:
                with pytest.raises(DataDependentOutputException):
                    module.training_step(batch, place)
        assert waits.found == [] and len(module.tally.rows()) == 2 * CHECK_EVERY
        module.skip_steps(
            5, torch.zeros(5, 3)
        )  # the first steps of an epoch in which a run was stopped, kept on the host
        assert module.tally.rows().device == GPU and len(module.tally.rows()) == 5 + 2 * CHECK_EVERY


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "SGD", "NAdam", "Adagrad"])
def test_no_step_of_an_optimizer_waits(name: str) -> None:
    module = image_tuner(getattr(torch.optim, name))
    inputs = module.backbone.example(4, 32)
    with on_gpu(module) as waits:
        module.enter(strategies.full(tuple(module.backbone.groups), 1).phases[0], 0, module.backbone)
        step(module, batch_of(inputs, LABELS[Multiclass]))
        assert waits.found == []


def passes(backbone: Backbone, size: int) -> None:
    """Run the whole network, and for each cut what is before it and after it, as a cached phase does."""
    inputs = backbone.example(4, size)
    every = find_cuts(backbone, size)
    cuts = [cut.name for cut in every[:: 1 + len(every) // 8]]
    with on_gpu(backbone) as waits:
        given = inputs_like(inputs)
        for training, dtype in itertools.product((True, False), (None, torch.float16)):
            backbone.train(training)
            with mixed(dtype):
                whole = tensors_of(backbone(given))
            assert waits.found == []
            for cut in cuts:
                backbone.freeze_modes({next(iter(backbone.groups))})
                below, above = make_prefix(backbone, [cut]), make_suffix(backbone, cut)
                waits.take()  # a graph's constants come with it, once
                with mixed(dtype):
                    made = tensors_of(above(below(given)[0]))
                assert [(one.shape, one.device) for one in made] == [(one.shape, GPU) for one in whole]
                assert waits.found == []


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    return tuple(inputs) if isinstance(inputs, Ragged) else (inputs,)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_no_image_network_waits_between_its_cuts(name: str) -> None:
    passes(make("backbone/timm", name=name, weights="none", size=32, options={"drop_path_rate": 0.1}), 32)


@pytest.mark.parametrize("pooling", POOLING)
def test_no_pooling_waits(pooling: str) -> None:
    passes(tiny(pooling), 10)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_network_of_texts_waits_between_its_cuts(family: str, tmp_path: Path) -> None:
    """But for the library itself: it asks a mask once whether it is all ones, of which it spares a fake one."""
    passes(make("backbone/transformers", name=saved_text(tmp_path, family), tokens=10), 10)


@pytest.mark.parametrize("name", [*WAVEFORMS, *OTHERS])
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_no_network_of_sounds_waits_between_its_cuts(name: str, tmp_path: Path) -> None:
    config = (WAVEFORMS | OTHERS)[name]()
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    extractor(config).save_pretrained(tmp_path)
    backbone = make("backbone/transformers_audio", name=str(tmp_path), seconds=0.5)
    passes(backbone, backbone.preprocess.size)


def test_the_speaker_encoder_does_not_wait_for_its_lengths() -> None:
    backbone = make("backbone/voice_encoder", weights="none", seconds=0.3)
    passes(backbone, backbone.preprocess.size)


def adapted(name: str) -> Backbone:
    """Return a backbone behind an adapter."""
    backbone: Backbone
    if name in ("spectrogram", "rendering"):
        backbone = make("backbone/timm", name="test_resnet", weights="none", size=32, options={})
        adapter = (
            make("adapter/spectrogram", backbone=backbone, seconds=0.3)
            if name == "spectrogram"
            else make("adapter/rendering", backbone=backbone)
        )
    elif name in ("patches", "frames"):
        backbone = transformer(lambda: transformers.BertModel(transformers.BertConfig(**SMALL)))
        kinds: dict[str, Any] = {"patches": lambda: make("adapter/patches", backbone=backbone, size=16)}
        kinds["frames"] = lambda: make("adapter/frames", backbone=backbone, seconds=0.3)
        adapter = kinds[name]()
    else:
        backbone = make("backbone/voice_encoder", weights="none", seconds=0.3)
        adapter = (
            make("adapter/rows", backbone=backbone, size=16)
            if name == "rows"
            else make("adapter/characters", backbone=backbone, tokens=12)
        )
    backbone.attach(adapter)
    return backbone


ADAPTERS = ["spectrogram", "rendering", "patches", "frames", "rows", "characters"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_adapter_waits(name: str) -> None:
    backbone = adapted(name)
    passes(backbone, backbone.preprocess.size)


@pytest.mark.parametrize("name", ["spectrogram", "rendering", "patches", "frames"])
def test_no_step_waits_that_aligns_an_adapter(name: str) -> None:
    backbone = adapted(name)
    head = Linear(backbone.num_features, 3, solver=None, dropout=0.0)
    module = tuner(backbone, head, make("task/multiclass", label_smoothing=0.0))
    inputs = backbone.example(40, backbone.preprocess.size)
    phase = Phase("align", 1, {"adapter": Train()}, objective="align")
    module.enter(phase, 0, backbone)  # before it moves, as in a run
    with on_gpu(module) as waits:
        batch = batch_of(inputs, torch.zeros(40, dtype=torch.int64))
        module.training_step(batch, 1)
        assert len(waits.take()) == 1, "what the network knew is sent, once"
        with mixed(torch.bfloat16):
            module.training_step(batch, 2)
        assert waits.found == []


def test_the_light_augmentation_does_not_wait() -> None:
    images, numbers = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), draw(0, torch.arange(4), 0, Light.count)
    with on_gpu() as waits:
        assert make("augment/light").change(like(images), numbers).device == GPU
    assert waits.found == []


@pytest.mark.parametrize("family", FAMILIES_OF_OPERATIONS)
def test_no_operation_of_other_augmentations_waits(family: Operation) -> None:
    """Which images each is for is sorted out with numbers of the host, of which a fake has none."""
    images, numbers = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.rand(4, 6)
    with on_gpu() as waits:
        assert family(like(images), like(numbers)).device == GPU
    assert waits.found == []
