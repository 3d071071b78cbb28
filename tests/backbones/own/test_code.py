"""What a network computes beyond its weights has one digest, which changes with the user's code and settings."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.own_networks import Pictures, Table, seeded
from torch import nn

from frostline.backbones.own.code import digest_code
from frostline.backbones.own.network import OwnNetwork

CODE = """
import helping
from helping import turn
import torch
from torch import nn

SCALE = 2.0

class Base(nn.Module):
    def middle(self, x):
        return x

class Net(Base):
    slope = 0.1

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.act = lambda x: x * 3
        self.depth = (1, 2)

    def forward(self, x):
        for step in self.depth:
            x = self.act(self.linear(x)) * SCALE
        return self.middle(turn(x)) * self.slope

    @torch.no_grad()
    def look(self, x):
        return x + 1
"""
HELPING = "def turn(x):\n    return deeper(x)\n\ndef deeper(x):\n    return x.flip(1)\n"

Make = Callable[..., nn.Module]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes the network of the code above, with texts in it replaced."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(old: str = "", new: str = "") -> nn.Module:
        for name, code in (("netting", CODE), ("helping", HELPING)):
            (tmp_path / f"{name}.py").write_text(code.replace(old, new) if old else code)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        torch.manual_seed(0)
        return importlib.import_module("netting").Net()

    return made


def test_the_same_code_has_the_same_digest(make: Make) -> None:
    digest, unread = digest_code(make())
    assert (digest, []) == (digest_code(make())[0], unread)
    commented = make("    def forward(self, x):", "    # a comment\n    def forward(self, x):")
    assert digest_code(commented)[0] == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* self.slope", "+ self.slope"),
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("x * 3", "x * 4"),
        ("(1, 2)", "(1, 2, 3)"),
        ("slope = 0.1", "slope = 0.2"),
        ("        return x\n", "        return -x\n"),
        ("x.flip(1)", "x.flip(0)"),
        ("return x + 1", "return x + 2"),
    ],
)
def test_a_change_of_code_shows(make: Make, old: str, new: str) -> None:
    assert digest_code(make())[0] != digest_code(make(old, new))[0]


def test_settings_of_a_packages_modules_show() -> None:
    digests = {digest_code(network)[0] for network in (nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 4))}
    digests |= {digest_code(nn.Sequential(nn.Linear(2, 2), nn.Dropout(rate)))[0] for rate in (0.1, 0.2)}
    assert len(digests) == 4


def test_a_forward_that_is_put_into_an_object_shows() -> None:
    plain, changed = seeded(Table), seeded(Table)
    changed.forward = lambda x: changed.layers(x) + 1  # type: ignore[method-assign]
    assert digest_code(plain)[0] != digest_code(changed)[0]


def test_what_cannot_be_read_makes_every_network_another_one() -> None:
    network = seeded(Table)
    network.rule = object()  # type: ignore[assignment]
    own = OwnNetwork(network)
    (note,) = own.notes(None)
    assert "(the network.rule is a object)" in note and own.notes(own.identity) == [note]
    assert OwnNetwork(network).identity != own.identity and own.notes("mine 1") == []
    vouched = OwnNetwork(network, content="mine 1")
    assert vouched.identity == "mine 1" and vouched.notes("mine 1") == []


def test_weights_and_code_make_the_identity() -> None:
    network = seeded(Pictures)
    own = OwnNetwork(network)
    with torch.no_grad():
        network.stem.weight.add_(1)
    assert OwnNetwork(network).identity != own.identity
    assert OwnNetwork(seeded(Pictures)).identity == own.identity
