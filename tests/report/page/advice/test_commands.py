"""The commands of an advice's page do what they say, and nothing in advice.json becomes one of its own."""

import shlex
from pathlib import Path
from typing import Any

from tests.advice_contents import SCORES, make_advice_content, make_answer, make_trial

from frostline.advice.candidates import make_inquiry
from frostline.comparison.cells import make_design
from frostline.config.compose import compose, resolve
from frostline.report.page.advice.commands import (
    choose_more_time,
    list_commands,
    list_finalists,
    list_flags,
    spell_plainly,
    write_again,
    write_comparison,
    write_run,
)
from frostline.report.read.advice import Advice
from frostline.results.store import run_id

NETWORK = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none"]


def advice(**more: Any) -> Advice:
    return Advice(Path("outputs/advice/toy"), make_advice_content(**more))


def test_the_run_is_the_answers_own_and_the_comparison_has_the_finalists(tmp_path: Path) -> None:
    base = [*NETWORK, "data=digits", "data.size=32", "head=mlp", "seed=3", f"outputs={tmp_path}"]
    inquiry = make_inquiry([*base, "advise.rates=[0.01]"], None)
    assert inquiry.list_base() == base
    known = {one.name.partition(" at ")[0]: one for one in inquiry.candidates}
    rows = []
    for name, value in SCORES.items():
        one = known[name]
        own = {"overrides": one.list_overrides(), "entry": one.entry, "name": one.name}
        rows.append(make_trial(name, value, seed=3) | own)
    answer = make_answer({}, SCORES, name=rows[0]["name"], seed=3, epochs=4)
    found = advice(trials=rows, base=inquiry.list_base(), answer=answer)
    words = shlex.split(write_run(found, found.racing[0]))
    assert words[:2] == ["frostline", "run"] and words.count("seed=3") == 1 and "head=mlp" not in words
    assert run_id(resolve(compose("run", words[2:]))) == known["joined"].make_answer(3, 4).id
    words = shlex.split(write_comparison(found) or "")
    assert words[:2] == ["frostline", "compare"]
    cells = make_design(words[2:], None).cells
    assert [cell.lr for cell in cells] == [0.01] * 3
    resolved = [cell.job(3).config for cell in cells]
    assert [config.freeze.get("k") for config in resolved] == [None, 1, 3]
    trials = [known[name].make_trial(3).config for name in SCORES]
    assert [config.head for config in resolved] == [config.head for config in trials]


def test_the_same_again_keeps_all_but_the_time() -> None:
    found = advice(command="frostline advise 'data.root=my photos' --allow=mine advise.within=100 force=true -cd conf")
    assert choose_more_time(found) == 420  # the 100 s that were asked for, and 310 s of full, in whole minutes
    words = shlex.split(write_again(found, 420))
    assert words == "frostline|advise|data.root=my photos|--allow=mine|-cd|conf|advise.within=420s".split("|")
    assert list_flags(found) == ["--allow=mine", "-cd", "conf"]
    assert choose_more_time(advice(answer=make_answer({}, SCORES, open=[]))) == 240


def test_finalists_are_those_that_are_alike_and_then_the_best() -> None:
    names = [one["name"] for one in list_finalists(advice())]
    assert names == ["joined", "last at 0.001", "upper at 0.001"]
    assert [one["name"] for one in list_finalists(advice(scores={"joined": 0.9}, alike={}))] == ["joined"]


def test_without_an_answer_there_is_more_time_alone() -> None:
    ((_, command),) = list_commands(advice(answered=False))
    assert command.endswith("advise.within=240s")


def test_what_a_stranger_wrote_is_quoted_and_no_flag() -> None:
    evil = "; touch /tmp/ran #"
    found = advice(
        command=f"rm -rf / {evil}",
        base=[f"data={evil}", "--allow=evil", "-cd=evil"],
        trials=[make_trial("joined", 0.9, overrides=["--allow=evil", f"freeze={evil}"], entry={"a b": {}})],
        answer=make_answer({}, SCORES, path="-rf"),
    )
    commands = dict(list_commands(found))
    assert len(commands) == 4 and write_comparison(found) is None
    for command in commands.values():
        words = shlex.split(command, comments=False)
        assert words[0] == "frostline" and not any(word.startswith(("--allow", "-cd")) for word in words)
        assert ";" not in words and "touch" not in words


def test_values_are_spelled_as_hydra_reads_them() -> None:
    assert spell_plainly({"lp_ft": {"head": "taps", "k": None, "optimizer.lr": 1e-05}}) == (
        "{lp_ft:{head:taps,k:null,optimizer.lr:1e-05}}"
    )
    assert spell_plainly(["null", "a,b", True]) == "['null','a,b',true]"
