"""A depth profile with numbers made up for the tests, of any number of taps and classes."""

from collections.abc import Callable
from typing import Any

from frostline.profiles.record import FORMAT, SCORES


def make_reading(value: float | None, gap: float = 0.0) -> dict[str, Any]:
    """Return a reading with intervals of 0.02 to either side, of a score or without one."""
    if value is None:
        return {"value": None, "interval": None, "gap": None, "why": "Some features are not finite."}
    ends = [{"low": centre - 0.02, "high": centre + 0.02} for centre in (value, gap)]
    return {"value": value, "interval": ends[0], "gap": ends[1], "why": None}


def make_content(
    taps: int = 5, classes: int = 3, say: Callable[[str], str] = str, joined: float = 0.95
) -> dict[str, Any]:
    """Return a profile whose best depth, 0.9, is at two thirds; each text of it has gone through ``say``."""
    best = (2 * taps) // 3
    scores = [0.9 - 0.05 * abs(place - best) for place in range(taps)]
    rows = []
    for place, score in enumerate(scores):
        more = {name: {"value": score / 2, "why": None} for name in SCORES}
        more["nleep"] = {"value": None, "why": say("Too few samples.")}
        names = {"name": say(f"blocks.{place}"), "group": say(f"stage{place}")}
        sizes = {**names, "width": 8 * (place + 1), "bytes": 32, "flops": (place + 1) / taps}
        rows.append(
            {**sizes, "probe": make_reading(score, 0.9 - score), "neighbours": make_reading(score - 0.1), **more}
        )
    depths = {"best": best, "near": best, "alike": 0}
    parted = [{"name": say(f"class {one}"), "n": 9, "recalls": scores, **depths} for one in range(classes)]
    known = {"n": taps, "tau": 0.5, "interval": {"low": 0.1, "high": 0.8}, "why": None}
    unknown = {"n": 2, "tau": None, "interval": None, "why": say("2 pairs are too few.")}
    union = {"name": "all", "taps": [], "width": 99, "probe": make_reading(joined, 0.9 - joined)}
    return {
        **{"format": FORMAT, "id": "0123456789ab", "command": say("frostline profile"), "config": {}},
        **{"backbone": say("network"), "data": say("digits"), "summary": say("10 classes"), "best": best},
        "metric": {"name": "accuracy", "title": "accuracy", "lower_is_better": False},
        **{"samples": {"train": 90, "val": 30}, "neighbours": 10, "taps": rows, "classes": parted},
        "joined": [union],
        "agreement": {"neighbours": known, "logme": known, "h_score": known, "nleep": unknown},
        **{"seconds": {"reading": 1.5, "probes": 2.5}, "versions": {"torch": say("2.0")}},
    }
