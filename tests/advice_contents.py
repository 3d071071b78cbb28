"""An advice with numbers made up for the tests, of any candidates, and its folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from frostline.results.indexes import load_advice

Say = Callable[[str], str]
ENTRIES = {
    "joined": {"linear_probe": {"head": "taps", "augment": "none"}},
    "last": {"last_k": {"k": 1}},
    "upper": {"last_k": {"k": 3}},
    "full": {"full": {}},
}
SCORES = {"joined": 0.94, "last": 0.93, "upper": 0.85}
"""What each candidate comes to that is run; `full` is not."""
SECONDS = {"joined": 12.0, "last": 40.0, "upper": 8.0, "full": 300.0}


def make_trial(name: str, value: float | None, seed: int = 0, say: Say = str, **more: Any) -> dict[str, Any]:
    """Return how a candidate stands; all but `joined` take steps, and stop after 5 of 10 epochs."""
    solved = name == "joined"
    ((strategy, options),) = ENTRIES[name].items()
    done = 10 if solved else 5
    curve = [] if value is None else [[9, value]] if solved else [[epoch, value] for epoch in range(5)]
    own = [f"{key}={one}" if key in ("head", "augment") else f"freeze.{key}={one}" for key, one in options.items()]
    row = {
        "name": say(name if solved else f"{name} at 0.001"),
        "strategy": say(f"{strategy}()"),
        "rate": None if solved else 0.001,
        "seed": seed,
        "id": f"{name}{seed}",
        "path": f"../../runs/{name}{seed}",
        "overrides": [f"freeze={strategy}", *own, "optimizer.lr=0.001"],
        "entry": {strategy: {**options, "optimizer.lr": 0.001}},
        "epochs": 10,
        "seconds": SECONDS[name],
        "out": None if solved else say("1% likely to beat joined by more than 0.005"),
        "done": done,
        "value": value,
        "error": None if value is None else abs(1.0 - value),
        "interval": None if value is None else {"low": value - 0.03, "high": value + 0.03},
        "curve": curve,
    }
    return row | more


def make_answer(alike: Mapping[str, float], scores: Mapping[str, float], say: Say = str, **more: Any) -> dict[str, Any]:
    """Return the answer, which is `joined`; ``alike`` has the noise of each that cannot be told from it."""
    found = {
        "name": say("joined"),
        "strategy": say("linear_probe(head=taps, augment=none)"),
        "rate": None,
        "seed": 0,
        "epochs": 10,
        "planned": 10,
        "id": "answer",
        "path": "../../runs/answer",
        "validation": scores["joined"],
        "expected": {"value": 0.935, "low": 0.905, "high": 0.965},
        "level": 0.9,
        "test": 0.95,
        "alike": [say("joined"), *(say(f"{name} at 0.001") for name in alike)],
        "noises": {say(f"{name} at 0.001"): noise for name, noise in alike.items()},
        "prices": [{"name": say("joined"), "seconds": 12.0, "value": scores["joined"]}],
        "open": [{"name": say("full at 0.001"), "seconds": 310.0, "chance": 0.25}],
    }
    return found | more


def make_state(say: Say = str) -> dict[str, Any]:
    """Return what a decision was made from: all candidates before anything ran."""
    rows = [
        {
            "name": say(name if name == "joined" else f"{name} at 0.001"),
            "epochs": 10,
            "seconds": seconds / 10,
            "start": 2.0,
            "done": 0,
            "out": None,
        }
        for name, seconds in SECONDS.items()
    ]
    return {"least": 0.005, "racers": rows, "left": 100.0}


def make_advice_content(
    scores: Mapping[str, float] = SCORES,
    alike: Mapping[str, float] | None = None,
    say: Say = str,
    answered: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """Return an advice on these candidates; each text of it has gone through ``say``."""
    moves = [
        {"at": 3.0, "what": "goes on", "name": say("joined"), "reason": say("the cheapest"), "state": make_state(say)},
        {"at": 70.0, "what": "stops", "name": say("last at 0.001"), "reason": say("1% likely to beat joined")},
    ]
    content = {
        "format": 1,
        "design": "d",
        "name": say("digits-toy"),
        "command": f"frostline advise {say('data=digits')} advise.within=100 advise.seeds=2",
        "base": [say("data=digits")],
        "metric": "accuracy",
        "lower_is_better": False,
        "within": 100.0,
        "least": 0.005,
        "seconds": 98.5,
        "found": {
            "data": {},
            "runs": [
                {
                    "error": None,
                    "data": say("data: 300/100/100 samples (train/val/test) of 10 classes: 0 30/10/10"),
                    "counts": {"train": 300, "val": 100, "test": 100},
                }
            ],
        },
        "notes": [],
        "history": [],
        "pace": 2e9,
        "profile": None,
        "trials": [make_trial(name, value, say=say) for name, value in scores.items()],
        "moves": moves,
        "answer": make_answer({"last": 0.02} if alike is None else alike, scores, say) if answered else None,
    }
    return content | more


def write_content(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write an advice.json, which has the shape that is read, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "advice.json").write_text(json.dumps(content))
    load_advice(folder)
    return folder
