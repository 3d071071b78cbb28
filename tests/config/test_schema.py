"""The allow-list, the signatures and the ranges: what a config may say."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frostline.config.allow import allow, check_targets, instantiate, is_allowed_name
from frostline.config.compose import compose, resolve
from frostline.config.schema import check_config
from frostline.config.signature import accepts, put_nearest_first
from frostline.errors import UserError

CANARY = "canary"
# Targets that would run something, each with arguments by which it would make or remove the canary.
ATTACKS: list[dict[str, Any]] = [
    {"_target_": "joblib.load", "filename": "x.pkl"},
    {"_target_": "numpy.load", "file": "x.npy", "allow_pickle": True},
    {"_target_": "pathlib.Path.unlink", "self": CANARY},
    {"_target_": "pathlib.Path", "_args_": [CANARY]},
    {"_target_": "os.system", "command": f"touch {CANARY}"},
    {"_target_": "builtins.eval", "_args_": [f"open('{CANARY}', 'w')"]},
    {"_target_": "builtins.open", "file": CANARY, "mode": "w"},
    {"_target_": "torch.load", "f": "x.pt", "weights_only": False},
    {"_target_": "hydra.utils.get_method", "path": "os.system"},
    {"_target_": "frostline.launchers.calls.call_by_name", "name": "os.getcwd"},
    {"_target_": "frostline.launchers.slurm.job.Child", "words": ["timeit", f"open('{CANARY}', 'w')"], "variables": {}},
    {"_target_": "frostline.launchers.slurm.launcher.yaml.load", "stream": "x"},
    {"_target_": "hydra.utils.instantiate", "config": {}},
    {"_target_": "subprocess.Popen", "args": ["touch", CANARY]},
    {"_target_": "torch.optim.sgd.torch.load", "f": "x.pt"},
    {"_target_": "torch.optim.optimizer.torch.load", "f": "x.pt"},
    {"_target_": "torchvision.transforms.v2.functional.os.system", "command": f"touch {CANARY}"},
    {"_target_": "torchvision.transforms.v2.Lambda", "lambd": {"_target_": "os.system"}},
    {"_target_": "frostline.data.base.Path", "path": CANARY},
    {"_target_": "frostline.data.image.datasets.Path.touch", "self": CANARY},
    {"_target_": "frostline.files.atomic.write_atomic", "path": CANARY, "content": ""},
    {"_target_": "frostline.config.allow.allow", "modules": ["os"]},
    {"_target_": "frostline.commands.main", "argv": ["doctor"]},
    {"_target_": "timm.create_model", "model_name": "resnet18", "checkpoint_path": "x.pt"},
    {"_target_": "timm.models.load_checkpoint", "checkpoint_path": "x.pt"},
    {"_target_": "timm.data.create_dataset", "name": "hfds/evil"},
    {"_target_": "pytorch_lightning.LightningModule.load_from_checkpoint", "checkpoint_path": "x.ckpt"},
    {"_target_": "pytorch_lightning.callbacks.LambdaCallback", "setup": "x"},
    {"_target_": "torchmetrics.image.FrechetInceptionDistance", "feature_extractor_weights_path": "x.pt"},
    {"_target_": "torch.optim.SGD.__init__.__globals__", "lr": 1},
    {"_target_": "torch.optim._functional.sgd", "lr": 1},
    {"_target_": "torch.optim", "lr": 1},
    {"_target_": "Trainer"},
    {"_target_": ["torch.optim.SGD"]},
    {"_target_": None},
]
FINE = [
    ("optimizer", {"_target_": "torch.optim.RAdam"}),
    ("augment", {"_target_": "torchvision.transforms.v2.RandAugment"}),
    ("optimizer", {"_target_": "timm.optim.Lamb"}),
    ("trainer", {"_target_": "pytorch_lightning.Trainer"}),
    ("logger", {"_target_": "pytorch_lightning.loggers.TensorBoardLogger"}),
    ("logger", {"mine": {"_target_": "pytorch_lightning.loggers.CSVLogger"}}),
    ("head", {"_target_": "frostline.heads.Linear"}),
    ("freeze", {"_target_": "frostline.freeze.strategies.lp_ft"}),
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FROSTLINE_ALLOW", "")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: str(attack["_target_"]))
@pytest.mark.parametrize("wrap", ["node", "argument", "list", "optimizer"])
def test_what_is_not_allowed_is_neither_made_nor_imported(attack: dict[str, Any], wrap: str, tmp_path: Path) -> None:
    node = {
        "node": attack,
        "argument": {"_target_": "torch.optim.SGD", "lr": attack},
        "list": {"_target_": "torchvision.transforms.v2.Compose", "transforms": [[attack]]},
        "optimizer": {"params": [{"deep": [attack]}], "_target_": "torch.optim.SGD"},
    }[wrap]
    with pytest.raises(UserError, match=r"_target_|_args_"):
        instantiate(node, "data")
    assert not (tmp_path / CANARY).exists() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_hydras_special_keys_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=rf"optimizer\.{key}"):
        check_targets({"optimizer": {"_target_": "torch.optim.SGD", key: True}})


@pytest.mark.parametrize(("key", "node"), FINE)
def test_what_is_needed_is_allowed(key: str, node: dict[str, Any]) -> None:
    check_targets({key: node})


@pytest.mark.parametrize(
    ("key", "node"),
    [
        ("trainer", {"logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "../x"}}),
        ("trainer", {"callbacks": [{"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "../x"}]}),
        ("trainer", {"profiler": {"_target_": "pytorch_lightning.profilers.SimpleProfiler", "dirpath": "../x"}}),
        ("trainer", {"strategy": {"_target_": "pytorch_lightning.strategies.DeepSpeedStrategy"}}),
        ("trainer", {"plugins": [{"_target_": "torch.optim.SGD"}]}),
        ("trainer", {"strategy": [[{"_target_": "pytorch_lightning.strategies.DDPStrategy"}]]}),
        ("trainer", {"x": {"y": {"_target_": "torch.optim.SGD"}}}),
        ("data", {"root": {"_target_": "torch.optim.SGD"}}),
        ("backbone", {"options": {"x": {"_target_": "frostline.heads.Linear"}}}),
        ("optimizer", {"lr": {"_target_": "torch.optim.SGD"}}),
        ("freeze", {"phases": [{"_target_": "frostline.heads.Linear"}]}),
    ],
)
def test_a_node_is_refused_where_its_key_takes_none(key: str, node: dict[str, Any]) -> None:
    whole = {**resolve(compose("run", [])).plain()[key], **node}
    with pytest.raises(UserError, match=rf"^{key}\..*_target_: ") as caught:
        check_targets({key: whole})
    with pytest.raises(UserError, match=rf"^{key}\..*_target_: "):
        instantiate(whole, key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("augment", "frostline.data.speech.published.fetch"),
        ("augment", "frostline.data.tables.rows.read_rows"),
        ("task", "frostline.tasks.weights.check_weights"),
        ("head", "torch.optim.SGD"),
        ("optimizer", "pytorch_lightning.loggers.TensorBoardLogger"),
        ("data", "pytorch_lightning.loggers.WandbLogger"),
        ("logger", "pytorch_lightning.Trainer"),
        ("cache", "frostline.heads.Linear"),
        ("compare", "frostline.heads.Linear"),
    ],
)
def test_a_group_takes_what_its_shipped_configs_name_and_nothing_beside(key: str, target: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}\._target_: "):
        check_targets({key: {"_target_": target, "folder": "x"}})


def test_what_people_nest_is_made() -> None:
    bar = {"_target_": "pytorch_lightning.callbacks.TQDMProgressBar", "refresh_rate": 0}
    trainer = instantiate({"_target_": "pytorch_lightning.Trainer", "callbacks": [bar], "logger": False}, "trainer")
    assert "TQDMProgressBar" in str(trainer.callbacks)
    inner = {"_target_": "torchvision.transforms.v2.RandomHorizontalFlip"}
    deep = {"_target_": "torchvision.transforms.v2.RandomApply", "transforms": [inner]}
    made = instantiate({"_target_": "torchvision.transforms.v2.Compose", "transforms": [deep]}, "augment")
    assert type(made.transforms[0].transforms[0]).__name__ == "RandomHorizontalFlip"


def test_a_target_of_the_users_own_takes_what_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_too.py").write_text("def build(loss=None):\n    return loss\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    allow(["mine_too"])
    node = {"_target_": "mine_too.build", "loss": {"_target_": "timm.loss.LabelSmoothingCrossEntropy"}}
    assert type(instantiate(node, "task")).__name__ == "LabelSmoothingCrossEntropy"
    logger = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "x"}
    with pytest.raises(UserError, match=r"task\.loss\._target_"):
        instantiate({"_target_": "mine_too.build", "loss": logger}, "task")


@given(st.from_regex(r"[a-z_]{1,8}(\.[A-Za-z_]{1,8}){0,4}", fullmatch=True))
def test_a_name_is_allowed_only_below_a_named_module(target: str) -> None:
    tops = ("frostline", "torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics")
    assert not is_allowed_name(target) or target.startswith(tuple(f"{top}." for top in tops))


@example(parts=["torch", "optim"])
@given(st.lists(st.sampled_from(["torch", "optim", "load", "os", "data", "frostline", "base", "_x", ""]), max_size=5))
def test_a_way_through_another_module_is_refused(parts: list[str]) -> None:
    target = ".".join(parts)
    allowed = target.startswith(("torch.optim.", "frostline.data.")) and "_x" not in parts and "" not in parts
    assert not is_allowed_name(target) or allowed


def test_a_module_of_the_users_own_takes_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_here.py").write_text("import os\n\ndef build(width):\n    return width * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "mine_here.build", "width": 3}
    with pytest.raises(UserError, match="--allow"):
        instantiate(node, "head")
    allow(["mine_here"])
    assert instantiate(node, "head") == 6
    with pytest.raises(UserError, match=r"head\._target_"):
        instantiate({"_target_": "mine_here.os.system", "command": "true"}, "head")
    allow([])
    assert "FROSTLINE_ALLOW" not in os.environ
    with pytest.raises(UserError, match="--allow"):
        allow(["../evil"])


def test_instantiate_names_the_key_that_is_wrong() -> None:
    with pytest.raises(UserError, match=r"optimizer\.momentun: there is no such key.*: momentum"):
        instantiate({"_target_": "torch.optim.SGD", "momentun": 0.9}, "optimizer", params=[])
    with pytest.raises(UserError, match=r"optimizer\._target_.*no 'Adams'; it has: Adam"):
        instantiate({"_target_": "torch.optim.Adams"}, "optimizer", params=[])
    with pytest.raises(UserError, match="trainer: pytorch_lightning.Trainer refused its arguments"):
        instantiate({"_target_": "pytorch_lightning.Trainer", "accelerator": "abacus"}, "trainer")
    with pytest.raises(UserError, match=r"freeze\.k: 'two' is invalid: expected a whole number"):
        instantiate({"_target_": "frostline.freeze.strategies.last_k", "k": "two"}, "freeze", groups=["stem"], epochs=2)


def test_instantiate_makes_nested_nodes_and_lets_run_time_win() -> None:
    inner = {"_target_": "torchvision.transforms.v2.RandomHorizontalFlip", "p": 0.25}
    made = instantiate({"_target_": "torchvision.transforms.v2.Compose", "transforms": [inner]})
    assert made.transforms[0].p == 0.25
    assert instantiate({**inner, "p": 0.1}, p=0.5).p == 0.5


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (1, int, True),
        (True, int, False),
        (1, float, True),
        ("1", float, False),
        (None, int | None, True),
        ("all", Literal["all", "norm"], True),
        ("bias", Literal["all", "norm"], False),
        ([1, 2], list[int], True),
        ([1, "a"], list[int], False),
        ([0.5, 0.5, 0.5], tuple[float, float, float], True),
        ([0.5], tuple[float, float, float], False),
        ({"a": 1}, dict[str, int], True),
        ("photos", Path, True),
        (3, Path, False),
        (3, Any, True),
    ],
)
def test_plain_values_are_held_to_type_hints(value: Any, hint: Any, fits: bool) -> None:
    assert accepts(value, hint) is fits


@given(st.text(), st.lists(st.text(), unique=True))
def test_naming_the_nearest_loses_no_name(value: str, names: list[str]) -> None:
    assert sorted(put_nearest_first(value, names)) == sorted(names)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("epochs", 0),
        ("cache.max_gb", -0.1),
        ("task.label_smoothing", 1.0),
        ("launcher.workers", 0),
        ("data.batch_size", 0),
        ("data.batch_size", 1.5),
        ("data.views", 0),
        ("data.num_per_class", True),
        ("data.fraction", 1.2),
        ("optimizer.lr", "fast"),
        ("optimizer.lr", float("nan")),
        ("monitor", "acc"),
    ],
)
def test_values_out_of_range_are_named(key: str, value: object) -> None:
    config = resolve(compose("run", [])).plain()
    *path, last = key.split(".")
    node = config[path[0]] if path else config
    node[last] = value
    with pytest.raises(UserError, match=rf"^{key}: "):
        check_config(config)


def test_seed_zero_is_a_seed() -> None:
    assert resolve(compose("run", ["seed=0"])).seed == 0


def test_a_task_of_ones_own_says_by_what_it_is_judged() -> None:
    config = replace(resolve(compose("run", [])), monitor=None)
    with pytest.raises(UserError, match="monitor: a task of your own needs one"):
        assert config.metric
