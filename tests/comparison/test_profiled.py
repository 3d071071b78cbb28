"""Which depth profiles a comparison has, that each is made once, and that one that cannot be made costs a sentence."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.own_networks import Pictures, seeded
from tests.small_runs import FEW
from torch import Tensor

from frostline.api.own import backbone, describe, tensors
from frostline.api.profiles import profile_cells
from frostline.comparison.cells import Design, make_design
from frostline.comparison.index import ComparisonIndex
from frostline.comparison.profiled import count_profiles, make_profile_configs
from frostline.config.compose import compose, resolve
from frostline.launchers.here import Here
from frostline.launchers.progress import Screen
from frostline.profiles.record import find_profile_folder, read_profile
from frostline.results.store import run_id

ONE = "compare.strategies=[full]"
SEVERAL = "compare.strategies=[linear_probe, {last_k: {k: 1}}, {linear_probe: {head: taps}}]"


def profile(design: Design, folder: Path, given: Mapping[str, Any] | None = None) -> ComparisonIndex:
    """Make the profiles of a comparison in this process, as a sitting does; return its index as a next one opens it."""
    index = ComparisonIndex.open(folder, design, "frostline compare")
    with Here(given or {}) as launcher:
        profile_cells(design, index, launcher, Screen(quiet=True))
    return ComparisonIndex.open(folder, design, "frostline compare")


def test_cells_that_only_train_otherwise_share_the_profile_of_the_command() -> None:
    base = ["data.num_per_class=5", "data.size=32"]
    design = make_design([*base, SEVERAL, "compare.seeds=[3,4]"], None)
    configs = make_profile_configs(design)
    command = resolve(compose("run", [*base, "seed=3"]))
    assert {find_profile_folder(config) for config in configs} == {find_profile_folder(command)} and len(configs) == 3
    jobs = [cell.job(seed, trial=trial).id for cell in design.cells for seed in (3, 4, 5) for trial in (False, True)]
    assert run_id(configs[0]) not in jobs, "what waits for a run's job does not wait for the profile's"


def test_cells_of_other_networks_or_data_have_their_own() -> None:
    axes = ["data=digits,mnist5k", "backbone=efficientnet_lite0,efficientnet_lite1", "compare.factor=backbone"]
    configs = make_profile_configs(make_design([ONE, *axes], None))
    assert len(configs) == 4 and len({find_profile_folder(config) for config in configs}) == 4
    asked = make_profile_configs(make_design([ONE, "task.label_smoothing=0.0,0.1"], None))
    assert len({find_profile_folder(config) for config in asked}) == 2, "and those of another task"


def test_whether_there_is_a_profile_makes_no_other_comparison() -> None:
    with_it, without = (make_design([f"compare.profile={choice}", ONE], None) for choice in ("true", "false"))
    assert with_it.digest() == without.digest() and with_it.name == without.name
    assert count_profiles(with_it, {}) == (1, 0) and count_profiles(without, {}) == (0, 0)


def test_profiles_are_made_once_and_named_in_the_comparison(tmp_path: Path) -> None:
    design = make_design([*FEW, SEVERAL, f"outputs={tmp_path}"], None)
    folder = tmp_path / "comparisons" / "one"
    index = profile(design, folder)
    (place,) = {one.path for one in index.read_profiles().values()}
    assert place is not None and len(index.read_profiles()) == 3
    content = read_profile(folder / place)
    assert content is not None and content["command"] == "frostline compare"
    assert (folder / place / "profile.html").exists()
    assert count_profiles(design, index.read_profiles()) == (0, 1)
    written = os.stat(folder / place / "profile.json").st_mtime_ns
    profile(design, folder)
    assert os.stat(folder / place / "profile.json").st_mtime_ns == written


def test_a_task_that_no_probe_is_solved_for_costs_a_sentence(tmp_path: Path) -> None:
    task = ["task=regression", "task.loss=huber", "head.solver=null", "data.num_per_class=null", "data.fraction=0.06"]
    design = make_design([*FEW, *task, ONE, f"outputs={tmp_path}"], None)
    (one,) = profile(design, tmp_path / "comparisons" / "one").read_profiles().values()
    assert one.path is None and one.why is not None and one.why.startswith("task: task=regression is learnt in steps")


class Broken(Pictures):
    """Fails for a batch of real samples, as a network of the user's own may."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 10:
            raise RuntimeError("no such luck")
        return super().forward(x)


def test_a_network_that_fails_costs_a_sentence_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = torch.randn(90, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    node = [ONE, "trainer.accelerator=cpu", f"outputs={tmp_path}"]
    words, given = describe(node, backbone(seeded(Broken), classifier="fc"), tensors(samples), "compare")
    design, folder = make_design(words, None), tmp_path / "comparisons" / "one"
    index = profile(design, folder, given)
    (one,) = index.read_profiles().values()
    assert one.path is None and one.why == "RuntimeError: no such luck"
    assert count_profiles(design, index.read_profiles()) == (0, 0)
    monkeypatch.setattr(Broken, "forward", Pictures.forward)
    (again,) = profile(design, folder, given).read_profiles().values()
    assert again == one
