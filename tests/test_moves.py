"""Runs in which each move of a module really copies what it holds, as between a processor and a GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.data.sounds import folders
from tests.finished_runs import finished
from tests.moving import copied
from tests.sequences import save_bert, write_texts
from torch import nn

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.launchers.dispatch import dispatch

RUN = ["trainer.accelerator=cpu", "epochs=2", "data.batch_size=16"]
DIGITS = ["data=digits", "data.num_per_class=5"]
IMAGES = [*DIGITS, "data.size=32", "backbone=timm", "backbone.weights=none", "backbone.name=test_resnet"]


def check_moves(outputs: Path, *overrides: str) -> None:
    """A run in which everything moves comes to what the same run does in which nothing has to."""
    config = resolve(compose("run", [*RUN, *overrides, f"outputs={outputs / 'still'}"]))
    still, _ = finished(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "_apply", copied(nn.Module._apply))
        moving: dict[str, Any] = finished(replace(config, outputs=str(outputs / "moving")))[0]
    for key in ("metrics", "moved", "similarity", "mistakes"):
        assert moving[key] == still[key], key
    assert moving["similarity"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["freeze=scratch"],
        ["freeze=scratch", "cache.enabled=false"],
        ["freeze=last_k", "backbone.batch_norm=live"],
        ["freeze=gradual", "backbone.batch_norm=live", "epochs=4"],
        ["freeze=full", "backbone.batch_norm=live", "backbone.name=test_efficientnet"],
        ["freeze=lp_ft", "backbone.name=test_vit", "head.solver=null"],
    ],
    ids=" ".join,
)
def test_images(tmp_path: Path, options: list[str]) -> None:
    check_moves(tmp_path, *IMAGES, *options)


@pytest.mark.parametrize("freeze", ["last_k", "full"])
def test_texts(tmp_path: Path, freeze: str) -> None:
    network = save_bert(tmp_path / "bert")
    texts = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=20"]
    check_moves(tmp_path, "backbone=transformers", f"backbone.name={network}", *texts, f"freeze={freeze}")


@pytest.mark.parametrize("options", [["freeze=last_k"], ["freeze=full", "cache.enabled=false"]], ids=" ".join)
def test_sounds(tmp_path: Path, options: list[str]) -> None:
    sounds = ["data=audiofolder", f"data.root={folders(tmp_path / 'sounds')}", "data.seconds=0.3"]
    check_moves(tmp_path, "backbone=voice_encoder", "backbone.weights=none", *sounds, *options)


def test_an_adapter(tmp_path: Path) -> None:
    network = save_bert(tmp_path / "bert")
    adapter = ["data.size=8", "adapter=patches", "adapter.patch=4", "freeze=orca", "epochs=4"]
    check_moves(tmp_path, "backbone=transformers", f"backbone.name={network}", *DIGITS, *adapter)


@pytest.mark.slow
def test_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank is a process of its own, so a callback of the run's is what makes everything move in it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    common = [*RUN, *IMAGES, "freeze=scratch"]
    ranks = ["trainer=ddp_cpu", "trainer.devices=2", "launcher.threads=1"]
    try:
        allow(["moving"])
        records = [
            dispatch(resolve(compose("run", [*common, *ranks, f"outputs={tmp_path / name}", *callbacks]))).record
            for name, callbacks in {"still": [], "moving": ["+trainer.callbacks=[{_target_:moving.Moving}]"]}.items()
        ]
    finally:
        allow([])
    still, moving = records
    assert moving["status"] == still["status"] == "done", moving["reason"]
    assert all(moving[key] == still[key] for key in ("metrics", "moved", "similarity"))
