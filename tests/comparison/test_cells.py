"""The cells of a comparison: axes, blocks, seeds and names, and what is refused before anything runs."""

from pathlib import Path

import pytest

from frostline.comparison.cells import Design, make_design
from frostline.errors import UserError

SMALL = ("data.num_per_class=5", "compare.seeds=[0,1]")


def made(*overrides: str, config_dir: Path | None = None) -> Design:
    return make_design([*SMALL, *overrides], config_dir)


def test_every_strategy_meets_every_level_of_every_axis() -> None:
    found = made("compare.strategies=[full,{last_k: {k: 2}}]", "data=digits,mnist5k", "data.size=32,48")
    assert found.axes == {"freeze": ["full", "last_k(k=2)"], "data": ["digits", "mnist5k"], "data.size": ["32", "48"]}
    assert len(found.cells) == 8
    cell = found.cells[-1]
    assert (cell.label, cell.block) == ("last_k(k=2)", {"data": "mnist5k", "data.size": "48"})
    config = cell.job(1).config
    assert (config.freeze["k"], config.data["size"], config.seed) == (2, 48, 1)
    assert config.data["_target_"].endswith("Mnist5k")
    assert "compare" not in config.plain()


def test_another_axis_may_be_the_compared_factor() -> None:
    found = made("compare.strategies=[full,linear_probe]", "data.size=32,48", "compare.factor=data.size")
    assert [(cell.label, cell.block) for cell in found.cells] == [
        ("32", {"freeze": "full"}),
        ("48", {"freeze": "full"}),
        ("32", {"freeze": "linear_probe"}),
        ("48", {"freeze": "linear_probe"}),
    ]


def test_an_axis_of_one_level_is_no_block() -> None:
    found = made("compare.strategies=[full]", "data.size=32,48", "compare.factor=data.size")
    assert [(cell.label, cell.block) for cell in found.cells] == [("32", {}), ("48", {})]


def test_axes_in_a_file_are_sweeps_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ncompare:\n  strategies: [full]\n  axes:\n    - data.num_per_class=range(5,16,5)\n"
    )
    found = make_design(["experiment=mine", "data.size=32,48"], tmp_path)
    assert found.axes["data.num_per_class"] == ["5", "10", "15"]
    assert len(found.cells) == 6


def test_a_trial_has_a_seed_of_its_own_and_leaves_the_test_split_alone() -> None:
    found = made("compare.strategies=[full]")
    trial, run = found.cells[0].job(found.trial_seed, lr=0.5, trial=True), found.cells[0].job(0)
    assert found.trial_seed == 2
    assert (trial.config.test, run.config.test) == (False, True)
    assert (trial.config.optimizer["lr"], run.config.optimizer["lr"]) == (0.5, 0.001)
    assert trial.id != run.id


def test_a_cells_configs_do_not_leak_into_each_other() -> None:
    cell = made("compare.strategies=[full]").cells[0]
    before = cell.job(0)
    cell.job(7, lr=0.5, epochs=99, trial=True)
    after = cell.job(0)
    assert after.config == before.config
    assert after.id == before.id


def test_a_budget_of_epochs_is_the_same_for_all() -> None:
    found = made("compare.strategies=[full,linear_probe]", "epochs=3", "compare.budget.epochs=7")
    assert {cell.job(0).config.epochs for cell in found.cells} == {7}


def test_the_same_command_has_the_same_name_and_another_one_another() -> None:
    first, again, other = made(), made(), made("epochs=3")
    assert first.name == again.name != other.name
    assert first.name.startswith("digits-efficientnet_lite0-")
    assert made("compare.name=mine").cells[0].job(0).config.group == "mine"


def test_the_group_and_the_label_are_no_part_of_a_run() -> None:
    mine = made("compare.name=mine").cells[0].job(0)
    other = made("compare.name=other").cells[0].job(0)
    assert mine.id == other.id
    assert mine.config.label == "scratch seed 0"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["freeze=full"], "compare.strategies"),
        (["seed=1,2"], "compare.seeds"),
        (["outputs=a,b"], "outputs"),
        (["compare.name=a,b"], "compare.name"),
        (["data.size=32,48", "data.size=64,96"], "data.size.*twice"),
        (["epochs=3,4", "compare.budget.epochs=7"], "same run"),
        (["compare.factor=data"], "compare.factor.*freeze"),
        (["compare.strategies=[]"], "compare.strategies"),
        (["compare.seeds=[]"], "compare.seeds"),
        (["compare.seeds=[0,0]"], "same run"),
        (["compare.strategies=[full,full]"], "same run"),
        (["compare.strategies=[{last_k: {depth: 2}}]"], "freeze.depth.*k"),
        (["compare.strategies=[{last_k: 2}]"], "last_k"),
        (["compare.strategies=['../x']"], "no strategy"),
        (["compare.lr_grid=[0.1,-1]"], r"compare.lr_grid\[1\]"),
        (["compare.lr_grid=[0.1,0.1]"], "twice"),
        (["compare.budget={epochs: 2, seconds: 3}"], "compare.budget"),
        (["compare.budget.seconds=0"], "compare.budget.seconds"),
        (["compare.axes=['data.size=32']"], "no sweep"),
        (["compare.axes=['data.size=32,48']", "data.size=32,48"], "twice"),
        (["test=false"], "^test: a comparison tests each run once"),
        (["compare.name=a/b"], "compare.name"),
        (["data=nothing,digits"], "data.*digits"),
        (["data.size=interval(1,2)"], "data.size"),
    ],
)
def test_mistakes_are_named(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(*overrides)


def test_a_trial_seed_that_a_run_uses_is_refused() -> None:
    with pytest.raises(UserError, match="compare.lr_seed"):
        _ = made("compare.lr_seed=1").trial_seed


def test_a_strategy_may_bring_its_head_and_schedule() -> None:
    entries = "compare.strategies=[linear_probe,{linear_probe: {head: taps, head.taps: late}},{last_k: {k: 2}}]"
    found = made(entries, "head=mlp")
    assert found.axes["freeze"] == ["linear_probe", "linear_probe(head=taps, head.taps=late)", "last_k(k=2)"]
    plain, read, last = (cell.job(0).config for cell in found.cells)
    assert plain.head["_target_"].endswith("MLP") and last.head == plain.head and last.freeze["k"] == 2
    assert read.head["_target_"].endswith("Taps") and read.head["taps"] == "late"


@pytest.mark.parametrize("option", ["data.size: 32", "task.loss: huber", "freeze.k: 1"])
def test_a_strategy_may_not_bring_other_data(option: str) -> None:
    with pytest.raises(UserError, match=rf"compare\.strategies: {option.partition(':')[0]} is no option of a strategy"):
        made(f"compare.strategies=[{{full: {{{option}}}}}]")
