"""What a comparison finds out before its first run, and the one pass that fills the caches of all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.features.cache import Store
from frostline.features.policy import BYTES_PER_SECOND
from frostline.heads import Linear
from frostline.ranks.numerics import restore_numerics, set_numerics
from frostline.results.store import run_id
from frostline.runs.build import Builder
from frostline.runs.experiment import run_experiment
from frostline.runs.survey import extract, survey

SMALL = ("data=digits", "data.num_per_class=5", "data.size=32", "epochs=2", "trainer.enable_progress_bar=false")


def made(outputs: Path, *overrides: str) -> dict[str, Any]:
    return resolve(compose("run", [*SMALL, f"outputs={outputs}", *overrides])).plain()


def test_the_survey_tells_what_a_run_is_like_and_writes_nothing(tmp_path: Path) -> None:
    probe, full = survey([made(tmp_path, f"freeze={name}") for name in ("linear_probe", "full")])
    assert (probe["stepped"], full["stepped"]) == (False, True)
    assert (probe["entries"], probe["missing"], full["entries"]) == (3, 3, 0)
    assert full["flops"] > 1e9 > probe["flops"]
    (stepped,) = survey([made(tmp_path, "freeze=linear_probe", "head.solver=null")])
    assert stepped["stepped"]
    assert not list(tmp_path.iterdir())


def test_the_survey_decides_for_the_device_that_the_runs_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for SLURM, on a machine that has no GPU itself. On GPUs as slow as this it pays to cache nothing."""
    monkeypatch.setitem(BYTES_PER_SECOND, "cuda", 1.0)
    on_cpu, on_gpu = (made(tmp_path, "freeze=linear_probe", f"trainer.accelerator={kind}") for kind in ("cpu", "gpu"))
    here, there = survey([on_cpu, on_gpu], elsewhere=True)
    assert here == survey([on_cpu])[0] and here["entries"] == 3
    assert there["error"] is None and there["entries"] == 0
    monkeypatch.undo()
    (there,) = survey([on_gpu], elsewhere=True)
    assert there["entries"] == 3 and there["missing"] is None
    assert extract([on_cpu], 1)["passes"] == 3
    assert survey([on_cpu, on_gpu], elsewhere=True)[0]["missing"] == 0


def test_activations_are_kept_under_how_they_were_computed(tmp_path: Path) -> None:
    how = ("", "trainer.matmul_precision=high", "trainer.deterministic=true", "trainer.precision=bf16-mixed")
    configs = [made(tmp_path, "freeze=linear_probe", *filter(None, [one])) for one in how]
    seen = set()

    def look(*_: Any) -> None:
        seen.add((torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode()))

    with restore_numerics(), register_module_forward_hook(look):
        set_numerics({})
        assert extract(configs, 1)["passes"] == 3 * len(how)
        assert torch.get_float32_matmul_precision() == "highest" and not torch.get_deterministic_debug_mode()
    assert seen == {("highest", 0), ("high", 0), ("highest", 2)}
    assert [fact["missing"] for fact in survey(configs)] == [0] * len(how)


def test_the_survey_names_a_mistake_and_goes_on(tmp_path: Path) -> None:
    wrong, right = survey([made(tmp_path, "freeze=last_k", "freeze.k=99"), made(tmp_path)])
    assert "freeze.k" in wrong["error"]
    assert right["error"] is None


def test_a_trial_needs_nothing_of_the_test_split(tmp_path: Path) -> None:
    (trial,) = survey([made(tmp_path, "freeze=linear_probe", "test=false")])
    assert trial["entries"] == 2


@pytest.mark.parametrize("views", [1, 2])
def test_one_pass_over_each_view_serves_every_run(tmp_path: Path, views: int) -> None:
    names = ("linear_probe", "last_k", "gradual", "full")
    augmented = ("augment=light", f"data.views={views}") if views > 1 else ()
    configs = [made(tmp_path, f"freeze={name}", *augmented) for name in names]
    filled = extract(configs, 1)
    assert filled["passes"] == views + 2
    keys = {entry.key for entry in Store(tmp_path / "cache").entries()}
    assert [fact["missing"] for fact in survey(configs)] == [0] * len(configs)
    assert extract(configs, 1)["passes"] == 0
    for config in map(Run.read, configs[:2]):
        folder = tmp_path / "runs" / run_id(config)
        folder.mkdir(parents=True)
        assert run_experiment(config, folder.name, folder).status == "done"
    assert {entry.key for entry in Store(tmp_path / "cache").entries()} == keys


def test_seeds_share_what_does_not_hang_on_them(tmp_path: Path) -> None:
    whole = [made(tmp_path, "freeze=linear_probe", f"seed={seed}", "data.num_per_class=null") for seed in (0, 1)]
    assert extract(whole, 1)["passes"] == 3
    drawn = [made(tmp_path, "freeze=linear_probe", f"seed={seed}") for seed in (0, 1)]
    assert extract(drawn, 1)["passes"] == 2  # each seed's own training samples
    random = [made(tmp_path, "freeze=random_features", f"seed={seed}") for seed in (0, 1)]
    assert extract(random, 1)["passes"] == 6


def test_what_does_not_fit_is_left_to_the_runs(tmp_path: Path) -> None:
    configs = [made(tmp_path, f"freeze={name}", "cache.max_gb=0.004") for name in ("linear_probe", "last_k")]
    extract(configs, 1)
    stored = sum(entry.bytes for entry in Store(tmp_path / "cache").entries())
    assert 0 < stored <= 4e6
    assert json.dumps(survey(configs))  # plain


def test_a_cache_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(UserError, match="cache cannot be written"):
        extract([made(tmp_path, "freeze=linear_probe")], 1)


def test_a_network_that_breaks_costs_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Builder._make_bare

    def breaks(self: Builder, config: Run, pretrained: bool) -> Any:
        if config.data["size"] == 40:
            raise RuntimeError("no such kernel")
        return real(self, config, pretrained)

    configs = [made(tmp_path, "freeze=linear_probe"), made(tmp_path, "freeze=linear_probe", "data.size=40")]
    monkeypatch.setattr(Builder, "_make_bare", breaks)
    fine, wrong = survey(configs)
    assert fine["entries"] == 3
    assert wrong == {"error": None, "broken": "RuntimeError: no such kernel"}


class Faulty(Linear):
    """A head that nobody can run."""

    def forward(self, features_BD: Tensor) -> Tensor:
        raise RuntimeError("no such luck")


def test_a_head_that_breaks_costs_no_other_run(tmp_path: Path) -> None:
    allow([__name__])
    try:
        broken = made(tmp_path, "freeze=linear_probe", f"head._target_={__name__}.Faulty")
        fine, wrong = survey([made(tmp_path, "freeze=linear_probe"), broken])
    finally:
        allow([])
    assert fine["error"] is None and fine["entries"] == 3
    assert wrong == {"error": None, "broken": "RuntimeError: no such luck"}
