"""Tiny networks and few digits, and a disk that is full."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from tests import configs

from frostline.backbones.base import Backbone
from frostline.data.image.datasets import Digits

SIZE = 32
Make = Callable[..., Backbone]
Load = Callable[..., Digits]


@pytest.fixture
def make() -> Make:
    """Return a builder of tiny timm networks: equal arguments give equal weights."""

    def build(name: str = "test_resnet", channels_last: bool | str = "auto", seed: int = 0) -> Backbone:
        torch.manual_seed(seed)
        backbone = configs.make("backbone/timm", name=name, weights="none", channels_last=channels_last, size=SIZE)
        for buffer_name, buffer in backbone.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_(std=0.1)
        return backbone

    return build


@pytest.fixture
def load() -> Load:
    """Return a loader of eight digits a class, in two views."""

    def digits(backbone: Backbone, views: int = 2, **options: object) -> Digits:
        augment = configs.make("augment/light") if views > 1 else None
        few = {"preprocess": backbone.preprocess, "num_per_class": 8, "views": views, "augment": augment}
        return configs.make("data/digits", **{"size": None, **few, **options})

    return digits


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which the system refuses to let any file grow beyond so many bytes."""

    @contextmanager
    def limit(most: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
