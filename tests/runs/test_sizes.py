"""What does not fit in memory or on the disk is said in one sentence, before anything is computed."""

import time
from pathlib import Path

import pytest
from tests.disks import small_disk
from tests.small_runs import make_run, run

from frostline.errors import UserError
from frostline.features.cache import Store
from frostline.runs.build import Builder
from frostline.runs.setup import Experiment, set_up
from frostline.runs.sizes import check_sizes
from frostline.runs.survey import extract, survey

TAPS = ("head=taps", "freeze=linear_probe")


def begin(outputs: Path, *overrides: str) -> Experiment:
    config, folder = make_run(outputs, *overrides)
    return set_up(config, folder, Builder(), time.monotonic())


def refuse(found: Experiment, memory: int) -> str:
    with pytest.raises(UserError) as error:
        check_sizes(found.made, found.policy, memory)
    return str(error.value)


def test_what_is_solved_must_fit_in_memory(tmp_path: Path) -> None:
    found = begin(tmp_path, *TAPS, "head.taps=all")
    assert found.policy.reads_stored(0)
    check_sizes(found.made, found.policy, int(1e9))
    said = refuse(found, 10_000)
    assert said.startswith(f"head.taps: to solve a head on {found.made.width:,} numbers of each of ")
    assert said.endswith(
        "has 10 kB of memory: expected fewer taps (head.taps=late, or a list of a few), or head.solver=null."
    )
    plain = begin(tmp_path, "freeze=linear_probe", "head.solver=lbfgs")
    assert refuse(plain, 10_000).startswith("head.solver: to solve a head on ")
    check_sizes(*(lambda one: (one.made, one.policy))(begin(tmp_path, *TAPS, "head.taps=auto")), 10_000)


@pytest.mark.parametrize("cache", ["cache.enabled=false", "cache.max_gb=0.0001"])
def test_what_the_cache_does_not_take_must_fit_in_memory(tmp_path: Path, cache: str) -> None:
    found = begin(tmp_path, *TAPS, "head.taps=auto", "data.views=3", "augment=light", cache)
    samples = found.made.samples
    assert len(found.policy.list_views(0)) == 2, "of three, for the run has two epochs"
    held = samples["train"] * 2 + samples["val"]
    need = held * 4 * found.made.width
    check_sizes(found.made, found.policy, need)
    said = refuse(found, need - 1)
    assert said.startswith(f"head.taps: what the head reads of {held} samples, views counted, is ")
    assert f"does not take it ({found.policy.choices[0].reason}): expected fewer taps (head.taps=late, or a" in said
    assert cache.partition("=")[0] in said


def test_taps_that_a_stepped_head_measures_must_fit_in_memory_too(tmp_path: Path) -> None:
    found = begin(tmp_path, "head=layer_mix", "head.taps=all", "freeze=full")
    need = found.made.samples["train"] * 4 * found.made.width
    check_sizes(found.made, found.policy, need)
    assert "nothing below the first trainable layer is frozen" in refuse(found, need - 1)
    check_sizes(*(lambda one: (one.made, one.policy))(begin(tmp_path, "freeze=full")), 0)


def test_a_disk_without_room_is_found_before_the_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", 8 << 20) as disk:
        config, _ = make_run(disk.root, *TAPS, "head.taps=all")
        assert survey([config.plain()])[0]["error"] is None
        disk.leave(100_000)
        with pytest.raises(UserError, match="cache cannot be written: .* are to be stored, and .*B are free"):
            extract([config.plain()], 1)
        assert not Store(disk.root / "cache").entries()
    with small_disk(tmp_path / "other", 8 << 20) as disk:
        (disk.root / "cache").mkdir()
        disk.leave(300_000)
        record, _ = run(disk.root, *TAPS, "head.taps=all")
        assert "are to be stored, and" in caplog.text and record["status"] == "done"
        assert not Store(disk.root / "cache").entries()
