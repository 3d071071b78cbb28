"""The YAML files of data and augment: they compose, say what they are, and agree with the signatures."""

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from frostline.config.compose import compose
from frostline.config.signature import check_types
from frostline.data.image.datasets import ImageOptions
from frostline.data.own.datasets import OwnOptions
from frostline.data.speech.datasets import AudioOptions
from frostline.data.text.datasets import TextOptions

CONF = Path(__file__).parents[2] / "conf"
DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))
AT_RUN_TIME = {"preprocess", "augment", "task", "seed", "index"}
OPTIONS = {"_image": ImageOptions, "_text": TextOptions, "_audio": AudioOptions}
ROOMS = {"text": TextOptions, "speech": AudioOptions, "own": OwnOptions}


def node(group: str, name: str) -> dict[str, Any]:
    content = OmegaConf.to_container(compose("run", [f"{group}={name}"])[group], resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def target(content: dict[str, Any]) -> Any:
    module, name = content["_target_"].rsplit(".", 1)
    return getattr(import_module(module), name)


@pytest.mark.parametrize("name", OPTIONS)
def test_shared_defaults_stand_in_one_place_and_agree(name: str) -> None:
    shared = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    assert {field.name for field in dataclasses.fields(OPTIONS[name])} == set(shared) | AT_RUN_TIME
    check_types(OPTIONS[name], shared, "data")


@pytest.mark.parametrize("name", DATA)
def test_every_data_set_names_a_constructor_and_all_of_its_keys(name: str) -> None:
    content = node("data", name)
    parameters = set(inspect.signature(target(content)).parameters) - {"common", "found"} - AT_RUN_TIME
    options = ROOMS.get(str(content["_target_"]).split(".")[-3], ImageOptions)
    shared = {field.name for field in dataclasses.fields(options)} - AT_RUN_TIME
    assert set(content) == {"_target_"} | parameters | shared


def test_every_data_set_of_the_issue_is_there() -> None:
    published = "fashionmnist cifar10 cifar100 svhn flowers102 oxfordiiitpet dtd eurosat food101"
    others = "text_csv hf_text audiofolder speechcommands own"
    assert DATA == sorted(["digits", "mnist5k", "imagefolder", "csv", *published.split(), *others.split()])


@pytest.mark.parametrize("name", ["none", "light", "randaugment", "trivial"])
def test_every_augmentation_can_be_made(name: str) -> None:
    content = node("augment", name)
    made = target(content)(**{key: value for key, value in content.items() if key != "_target_"})
    assert (made is None) == (name == "none")


@pytest.mark.parametrize("path", [*(CONF / "data").glob("[!_]*.yaml"), *(CONF / "augment").glob("*.yaml")], ids=str)
def test_every_file_opens_with_its_command(path: Path) -> None:
    first, second = path.read_text().splitlines()[:2]
    assert re.match(rf"# frostline run (data=\w+ )?{path.parent.name}={path.stem}\b", first) and second.startswith("# ")
