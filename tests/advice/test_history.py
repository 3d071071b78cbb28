"""What earlier advice came to: it moves what is foretold, a little, and is passed over where it cannot be read."""

import json
import math
from pathlib import Path

import pytest
from tests.advice.pretend import Pretend, ask, sit

from frostline.advice.foretell import UNTRIED
from frostline.advice.history import History, list_ratios, read_history

LONG = "advise.within=1h"


def trial(strategy: str, error: float | None, rate: float | None = 0.001, done: int = 10) -> dict[str, object]:
    return {"strategy": strategy, "error": error, "rate": rate, "done": done, "epochs": 10}


def test_a_strategy_is_compared_with_the_frozen_network_at_its_best_rate_and_end() -> None:
    rows = [trial("frozen", 0.2, None), trial("full", 0.4), trial("full", 0.1), trial("last", 0.05, done=5)]
    assert list_ratios([*rows, trial("broken", None)]) == [("full", pytest.approx(math.log(0.5)))]
    assert list_ratios([trial("full", 0.1)]) == []


def test_the_more_was_seen_the_more_it_weighs_and_the_surer_it_is() -> None:
    found = [History({"full": [-1.0] * count}).foretell("full") for count in (0, 1, 9)]
    assert found[0] == UNTRIED
    means = [UNTRIED[0], (UNTRIED[0] - 1) / 2, (UNTRIED[0] - 9) / 10]
    assert [mean for mean, _ in found] == [pytest.approx(mean) for mean in means]
    assert found[0][1] > found[1][1] > found[2][1] > UNTRIED[1] / 2


def test_advice_draws_on_others_in_its_folder_and_says_so(tmp_path: Path) -> None:
    first = sit(ask(tmp_path, LONG, "advise.name=first"), Pretend(), tmp_path)
    known = read_history(tmp_path / "outputs" / "advice", "second")
    assert known.names == ["first"] and known.ratios["last_k(k=1)"][0] < 0 and known.pace == pytest.approx(2e10)
    second = sit(ask(tmp_path, LONG, "advise.name=second", "epochs=11"), Pretend(), tmp_path)
    assert second.index.content["history"] == ["first"]
    without = sit(ask(tmp_path, LONG, "advise.name=third", "epochs=12", "advise.history=false"), Pretend(), tmp_path)
    assert without.index.content["history"] == [] and first.index.content["history"] == []


def test_what_is_likely_is_tried_first(tmp_path: Path) -> None:
    def list_begun(name: str, history: str) -> list[str]:
        asked = ask(tmp_path, "advise.within=200", f"advise.name={name}", f"advise.history={history}", "epochs=11")
        moves = sit(asked, Pretend(), tmp_path).index.content["moves"]
        return [row["name"].partition(" at ")[0] for row in moves if row["what"] == "goes on"]

    place = tmp_path / "outputs" / "advice" / "earlier"
    place.mkdir(parents=True)
    sit(ask(tmp_path, LONG, "advise.name=earlier"), Pretend(), tmp_path)
    content = json.loads((place / "advice.json").read_text())
    for row in content["trials"]:  # full was best by far, and the others came to nothing
        row["error"] = 0.001 if row["strategy"] == "full" else row["error"] if row["rate"] is None else 0.9
        row["done"] = row["epochs"]
    for number in range(4):
        other = place.parent / f"earlier{number}"
        other.mkdir()
        (other / "advice.json").write_text(json.dumps({**content, "name": other.name}))
    assert list_begun("with", "true")[1] == "full" != list_begun("without", "false")[1]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}'])
def test_what_cannot_be_read_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "advice.json").write_text(text)
    assert read_history(tmp_path, "mine") == History({}, [], [])
