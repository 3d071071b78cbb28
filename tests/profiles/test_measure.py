"""A profile of small real networks on pictures and texts: what it says is what runs come to, and what it reads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.finished_runs import finished
from tests.sequences import save_bert, write_texts
from tests.small_runs import make_run
from torch.nn.modules.module import register_module_forward_hook

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.features.cache import Store
from frostline.files.shapes import check_shape
from frostline.profiles.call import list_taps, measure
from frostline.profiles.measure import make_outputs
from frostline.profiles.neighbours import ask_neighbours
from frostline.profiles.record import SHAPE, check_depths, is_alike
from frostline.tasks.multiclass import Multiclass

LABELS = ["data.num_per_class=null", "data.fraction=0.06"]


def profile(config: Any) -> dict[str, Any]:
    """Return the profile of a config, of the right shape."""
    content = measure([config.plain()], torch.get_num_threads(), 1)
    whole = {"id": "0", "command": "", "config": {}, **content}
    check_shape(whole, SHAPE, "")
    check_depths(whole)
    return content


def texts(folder: Path) -> Any:
    """Return the config of a small random BERT on very few texts."""
    save_bert(folder / "bert")
    network = ["backbone=transformers", f"backbone.name={folder / 'bert'}", "trainer.accelerator=cpu", "data.tokens=12"]
    data = ["data=text_csv", f"data.root={write_texts(folder / 'texts')}"]
    return resolve(compose("run", [*network, *data, f"outputs={folder / 'outputs'}"]))


def test_probes_and_joined_heads_are_those_of_runs(tmp_path: Path) -> None:
    content = profile(make_run(tmp_path)[0])
    names = [tap["name"] for tap in content["taps"]]
    middle = len(names) // 2
    wanted = {"all": content["joined"][0]["probe"], f"[{names[middle]}]": content["taps"][middle]["probe"]}
    assert names[-1] == "features" and content["joined"][0]["taps"] == names
    for taps, probe in wanted.items():
        config, _ = make_run(tmp_path, "freeze=linear_probe", "head=taps", f"head.taps={taps}")
        record, _ = finished(config)
        assert probe["value"] == pytest.approx(record["metrics"]["val"]["accuracy"], abs=1e-6)
    best = content["taps"][content["best"]]
    assert best["probe"]["value"] == max(tap["probe"]["value"] for tap in content["taps"]) and is_alike(best["probe"])
    for tap in content["taps"]:
        for reading in (tap["probe"], tap["neighbours"]):
            assert reading["interval"]["low"] <= reading["value"] <= reading["interval"]["high"]
        assert (
            tap["probe"]["gap"]["low"] <= best["probe"]["value"] - tap["probe"]["value"] <= tap["probe"]["gap"]["high"]
        )
    groups = [tap["group"] for tap in content["taps"]]
    assert groups == sorted(groups, key=["stem", "stage1", "stage2", "stage3", "stage4"].index) and groups[0] == "stem"
    assert groups[-1] == "stage4" and len(set(groups)) == 5, "each group ends at a tap"
    assert [tap["flops"] for tap in content["taps"]] == sorted(tap["flops"] for tap in content["taps"])


def test_train_and_val_are_read_once_and_the_test_split_never(tmp_path: Path) -> None:
    config, _ = make_run(tmp_path)
    first = profile(config)
    store = Store(tmp_path / "cache")
    entries = {entry.key: entry.manifest["about"]["split"] for entry in store.entries()}
    assert set(entries.values()) == {"train", "val"} and len(entries) == 2 * len(first["taps"])
    seen: list[tuple[str, int]] = []

    def note(module: torch.nn.Module, args: Any, _: Any) -> None:
        if args and type(args[0]) is torch.Tensor:  # tracing calls them with what has no length
            seen.append((type(module).__name__, len(args[0])))

    with register_module_forward_hook(note):
        second = profile(config)
    most = max(count for name, count in seen if name == "Conv2d")
    assert most == 1 and ("Taps", first["samples"]["val"]) in seen, "heads alone are run on what is stored"
    assert {**first, "seconds": None} == {**second, "seconds": None}
    assert {entry.key for entry in store.entries()} == set(entries)


def test_what_may_not_be_stored_is_read_into_memory(tmp_path: Path) -> None:
    stored = profile(make_run(tmp_path / "stored")[0])
    for name, node in (("off", "cache.enabled=false"), ("small", "cache.max_gb=0.00001")):
        found = profile(make_run(tmp_path / name, node)[0])
        assert not list((tmp_path / name).glob("cache/*"))
        assert {**found, "seconds": None} == {**stored, "seconds": None}


def test_texts_have_a_profile_of_their_blocks(tmp_path: Path) -> None:
    content = profile(texts(tmp_path))
    assert len(content["taps"]) >= 3 and [one["name"] for one in content["joined"]] == ["all", "late"]
    assert all(tap["probe"]["value"] is not None for tap in content["taps"])
    assert [one["name"] for one in content["classes"]] == ["a", "b"] and content["samples"] == {"train": 14, "val": 14}
    assert all(tap["nleep"]["value"] is None and "too few" in tap["nleep"]["why"] for tap in content["taps"])


def test_numbers_are_best_where_the_error_is_least(tmp_path: Path) -> None:
    content = profile(make_run(tmp_path, "task=regression", *LABELS)[0])
    errors = [tap["probe"]["value"] for tap in content["taps"]]
    assert content["metric"]["name"] == "rmse" and errors[content["best"]] == min(errors)
    assert not content["classes"] and all(tap["h_score"]["value"] is None for tap in content["taps"])
    for tap in content["taps"]:
        gap = tap["probe"]["gap"]
        assert gap["low"] <= tap["probe"]["value"] - min(errors) <= gap["high"]


def test_tags_have_classes_too(tmp_path: Path) -> None:
    content = profile(make_run(tmp_path, "task=multilabel", *LABELS)[0])
    assert content["metric"]["name"] == "macro_f1" and len(content["classes"]) == 10
    assert all(0 <= tap["neighbours"]["value"] <= 1 for tap in content["taps"])


def test_a_task_without_a_solver_is_refused_in_a_sentence(tmp_path: Path) -> None:
    stepped = ["task=regression", "task.loss=huber", "head.solver=null", *LABELS]
    with pytest.raises(UserError, match=r"^task: task=regression is learnt in steps only.*expected multiclass"):
        profile(make_run(tmp_path, *stepped)[0])


def test_taps_are_listed_and_nothing_is_decoded_or_written(tmp_path: Path) -> None:
    config, folder = make_run(tmp_path)
    folder.rmdir()
    found = list_taps([config.plain()], False)
    assert found["taps"][-1]["name"] == "features" and found["taps"][-1]["flops"] == 1
    known = {"name": "", "group": "stem", "width": 32, "bytes": 128, "flops": 0}
    assert found["taps"][0] | {"name": "", "flops": 0} == known
    assert found["samples"]["train"] == 40 and not list(tmp_path.glob("cache"))


def test_outputs_of_neighbours_choose_as_they_do() -> None:
    random = torch.Generator().manual_seed(0)
    train, asked = torch.randn(60, 4, generator=random), torch.randn(30, 4, generator=random)
    labels = torch.arange(60) % 3
    near = ask_neighbours((train, labels), asked, 10, classes=3)
    outputs = make_outputs(near, Multiclass(label_smoothing=0.0, class_weights=None))
    assert near.classes is not None and torch.equal(outputs.argmax(dim=1), near.classes)
    assert outputs.isfinite().all()
    assert torch.allclose(outputs.exp().sum(dim=1), torch.ones(30), atol=2e-3)
