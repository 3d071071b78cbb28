"""docs/modalities.md: made from whatever is finished, and the same numbers in the recipes."""

import importlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
modalities: Any = importlib.import_module("modalities")


def controlled(label: str, block: Mapping[str, str], seed: int, record: dict[str, Any]) -> None:
    """Let the control be one: from random weights, and worse on validation as well."""
    record["plan"]["pretrained"] = label != "scratch"
    record["metrics"]["val"]["accuracy"] = {"full": 0.9, "linear_probe": 0.8}.get(label, 0.4)


@pytest.fixture
def outputs(comparison: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An outputs folder in which one cell is finished, and recipes that may be written to."""
    strategies = {"linear_probe": (0.8, 4.0), "full": (0.87, 30.0), "scratch": (0.4, 31.0)}
    comparison(strategies, change=controlled).rename(tmp_path / "comparisons" / "image_to_text")
    shutil.copytree(ROOT / "conf" / "experiment", tmp_path / "recipes")
    monkeypatch.setattr(modalities, "RECIPES", tmp_path / "recipes")
    return tmp_path


def test_the_page_says_of_each_cell_what_is_known(outputs: Path) -> None:
    cell = modalities.read(outputs, "image_to_text")
    assert modalities.read(outputs, "text_to_image") is None
    page = modalities.page({"image_to_text": cell})
    assert page.count("not run yet") == 8 and "1 of 9 cells have runs" in page
    best, control = cell.best(control=False), cell.best(control=True)
    assert (best.label, control.label) == ("full", "scratch") and cell.gain.low > 0.2
    assert "Pretraining helps in 1, pretraining hurts in 0, no difference can be told in 0." in page
    assert f"{best.text} full<br>{control.text} scratch<br>pretraining helps (+" in page
    assert (
        "frostline compare experiment=image_to_text" in page
        and "| scratch | random |" in page
        and "Result: pretraining helps (+" in page
    )
    assert "Super Characters" in page and "Measured" not in page, "what the recipe says of itself"


def test_a_cell_with_controls_alone_is_not_finished(outputs: Path) -> None:
    cell = modalities.read(outputs, "image_to_text")
    half = modalities.Cell(cell.name, cell.comparison, [one for one in cell.strategies if one.control])
    assert half.gain is None and "not finished" in modalities.page({"image_to_text": half})
    assert "Not finished: linear_probe, full." in modalities.section(half)


def test_a_recipe_states_what_was_measured_and_is_otherwise_as_it_was(outputs: Path) -> None:
    path = outputs / "recipes" / "image_to_text.yaml"
    before = modalities.MEASURED.sub("", path.read_text())
    cell = modalities.read(outputs, "image_to_text")
    for _ in range(2):
        modalities.note(cell)
        text = path.read_text()
        assert modalities.MEASURED.sub("", text) == before and text.count("# Measured: ") == 1
        assert f"{cell.best(control=False).text} of full" in text and "pretraining helps" in text


@pytest.mark.parametrize("name", modalities.CELLS)
def test_every_cell_has_a_recipe_with_controls(name: str) -> None:
    text = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text()
    assert text.splitlines()[1].startswith(f"# frostline compare experiment={name} data.root=")
    assert len(modalities.MEASURED.findall(text)) == 1
    node = yaml.safe_load(text)["compare"]
    assert node["name"] == name and max(node["seeds"]) < 10, "seeds from 10 on served to choose samples and adapter"
    heads = {"linear_probe": [], "random_features": []}
    for entry in node["strategies"]:
        ((strategy, options),) = entry.items() if isinstance(entry, dict) else [(entry, {})]
        heads.get(strategy, []).append(options)
    assert heads["linear_probe"] == heads["random_features"] == [{}, {"head": "taps"}], "the control has the same heads"
