"""Every config in every group composes, names only what is allowed, and opens with its command."""

import inspect
from pathlib import Path

import pytest
import yaml

from frostline.config.allow import is_allowed_name, iterate_nodes, locate
from frostline.config.compose import compose, list_config_groups, resolve
from frostline.config.schema import Compare, check_config, find_conf_dir

CHOICES = [(group, name) for group, names in list_config_groups().items() if group != "experiment" for name in names]
EXPERIMENTS = list_config_groups()["experiment"]
# Values that only a user can give.
NEEDED = {
    ("data", "imagefolder"): ["data.root=photos"],
    ("data", "csv"): ["data.manifest=photos.csv"],
    ("data", "hf_text"): ["data.path=imdb"],
    ("optimizer", "torch"): ["optimizer.name=RAdam"],
    ("backbone", "timm"): ["backbone.name=resnet18"],
    ("backbone", "torchvision"): ["backbone.name=resnet18"],
    ("backbone", "transformers"): ["backbone.name=bert-base-uncased"],
    ("backbone", "transformers_audio"): ["backbone.name=openai/whisper-tiny"],
    ("launcher", "slurm"): ["trainer.accelerator=gpu"],
}


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_composes_and_resolves(group: str, name: str) -> None:
    config = resolve(compose("run", [f"{group}={name}", *NEEDED.get((group, name), [])]))
    check_config(config.plain())
    for where, node in iterate_nodes(config.plain()[group], group):
        if "_target_" in node:
            assert is_allowed_name(node["_target_"])
            found = locate(node["_target_"], where)
            assert inspect.isclass(found) or inspect.isfunction(found)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str) -> None:
    assert resolve(compose("compare", [f"experiment={name}"]), Compare).compare.strategies


@pytest.mark.parametrize(("group", "name"), [one for one in CHOICES if one[0] in ("data", "freeze")])
def test_a_config_opens_with_its_command(group: str, name: str) -> None:
    first = (find_conf_dir() / group / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ") and f"{group}={name}" in first


@pytest.mark.parametrize("path", sorted(find_conf_dir().rglob("*.y*ml")), ids=lambda path: path.stem)
def test_files_are_plain_yaml(path: Path) -> None:
    assert path.suffix == ".yaml"
    yaml.safe_load(path.read_text())


def test_roots_stand_as_scripts_expect() -> None:
    run, comparison = resolve(compose("run", [])).plain(), resolve(compose("compare", []), Compare).plain()
    assert {"seed", "epochs", "outputs", "force", "debug"} <= set(run)
    assert {"size", "batch_size", "views", "workers", "num_per_class"} <= set(run["data"])
    assert {"enabled", "max_gb"} <= set(run["cache"])
    assert {"name", "weights"} <= set(run["backbone"])
    assert run["outputs"] == "outputs" and "lr" in run["optimizer"]
    assert set(comparison["compare"]) == {
        *("strategies", "seeds", "axes", "factor", "lr_grid", "lr_extend", "lr_seed", "budget", "profile", "name")
    }
    assert {**run, "compare": comparison["compare"]} == comparison
