"""Weights are found in whatever a training program wrapped them, where exactly one way to read a file fits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sample_files import loaded, named, network, state, write

from frostline.backbones.weights.loading import fingerprint, load_weights
from frostline.errors import UserError

OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


WRAPPED: dict[str, tuple[Any, str]] = {
    "state_dict": ({"epoch": 3, "state_dict": state()}, "state_dict"),
    "net": (named("net.", state()), "'net.' taken off"),
    "model": (named("model.", state()), "'model.' taken off"),
    "backbone and head": (
        {**named("backbone.", state()), "head.weight": torch.ones(2, 4)},
        "'backbone.' taken off; left out what is beside: head.weight",
    ),
    "encoder": ({"model": named("encoder.", state())}, "model, 'encoder.' taken off"),
    "compiled": (named("_orig_mod.", state()), "'_orig_mod.' taken off"),
    "distributed": ({"model": named("module.", state()), "optimizer": OPTIMIZER}, "model, 'module.' taken off"),
    "all of them": (named("module._orig_mod.model.", state()), "'module._orig_mod.model.' taken off"),
    "timm's average": ({"state_dict_ema": named("module.", state())}, "state_dict_ema, 'module.' taken off"),
    "an average": (
        {"averaged_model": {"n_averaged": torch.tensor(3), **named("module.", state())}},
        "averaged_model, 'module.' taken off; left out what is beside: n_averaged",
    ),
    "names of one's own": ({"a": {"b": named("my.own.", state())}}, "a.b, 'my.own.' taken off"),
    "a module of Lightning": (
        {
            "state_dict": named("model.", state()),
            "hyper_parameters": {"lr": 0.1, "layers": [1, 2]},
            "optimizer_states": [OPTIMIZER],
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "best_model_path": "x"}},
            "pytorch-lightning_version": "2.6.6",
        },
        "state_dict, 'model.' taken off",
    ),
    "the same twice": ({"model": state(), "model_ema": state()}, "model"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_a_training_program_wraps_weights_in_is_taken_off_and_said(tmp_path: Path, name: str) -> None:
    content, how = WRAPPED[name]
    path = write(tmp_path / "weights.ckpt", content)
    assert loaded(path) == (fingerprint(state()), [f"read weights.ckpt as: {how}"])


@given(
    prefix=st.lists(st.sampled_from(["net", "model", "module", "_orig_mod", "x"]), max_size=4),
    place=st.lists(st.sampled_from(["state_dict", "model", "ema", "y"]), max_size=3),
)
def test_any_nesting_is_read(tmp_path_factory, prefix: list[str], place: list[str]) -> None:
    content: dict[str, Any] = named("".join(f"{one}." for one in prefix), state())
    for key in reversed(place):
        content = {key: content, "step": 3}
    path = write(tmp_path_factory.mktemp("nested") / "weights.pth", content)
    assert loaded(path)[0] == fingerprint(state())


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": state(), "state_dict_ema": state(1)},
        {**named("student.", state()), **named("teacher.", state(1))},
        {"state_dict": {**named("model.", state()), **named("ema_model.module.", state(1))}},
    ],
)
def test_two_readings_that_differ_are_refused_by_name(tmp_path: Path, content: dict[str, Any]) -> None:
    target = network()
    before = fingerprint(target.state_dict())
    with pytest.raises(UserError, match=r"weights\.pth holds weights of this network more than once \(.*; .*\)"):
        load_weights(target, write(tmp_path / "weights.pth", content), [])
    assert fingerprint(target.state_dict()) == before


def test_where_no_reading_fits_all_are_listed_and_the_nearest_is_explained(tmp_path: Path) -> None:
    short = {name: value for name, value in state().items() if name != "2.bias"}
    content = {"state_dict": named("model.", {**short, "extra": torch.ones(1)}), "other": {"x": torch.ones(1)}}
    with pytest.raises(UserError) as error:
        load_weights(network(), write(tmp_path / "weights.pth", content), [])
    said = str(error.value)
    assert "of which state_dict, 'model.' taken off is nearest (missing: 2.bias; unexpected: extra)" in said
    assert "(state_dict; state_dict, 'model.' taken off; " in said and "; other" in said and "\n" not in said


def test_dictionaries_that_hold_each_other_are_read_in_bounded_time(tmp_path: Path) -> None:
    deep: dict[str, Any] = {"weight": torch.ones(1)}
    for _ in range(60):
        deep = {"a": deep, "b": deep}
    deep["self"] = deep
    with pytest.raises(UserError, match=r"^backbone\.weights: .*weights\.pth"):
        load_weights(network(), write(tmp_path / "weights.pth", deep), [])
