"""A profile on disk: which folder a config's has, its profile.json read back with checks, and its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.atomic import read_json, sha256_json
from frostline.files.shapes import check_shape
from frostline.results.store import make_identity

FORMAT = 2
PROFILE = "profile.json"
TABLE = "profile.csv"
PAGE = "profile.html"

MATTERS = ("seed", "task", "data", "augment", "backbone", "adapter", "freeze", "monitor", "trainer", "code")
"""What of a run's config a profile depends on; of ``freeze`` it is what is done to the network before it trains."""

SCORES = {"logme": "LogME", "h_score": "H-score", "nleep": "NLEEP"}
"""The columns that need no probe, and what they are called; `frostline.profiles.measure` has their functions."""

INTERVAL = ({"low": float, "high": float}, None)
READING = {"value": (float, None), "interval": INTERVAL, "gap": INTERVAL, "why": (str, None)}
AGREEMENT = {"n": int, "tau": (float, None), "interval": INTERVAL, "why": (str, None)}
SHAPE = {
    "format": int,
    "id": str,
    "command": str,
    "config": dict,
    "backbone": str,
    "data": str,
    "summary": str,
    "metric": {"name": str, "title": str, "lower_is_better": bool},
    "samples": {"train": int, "val": int},
    "neighbours": int,
    "best": (int, None),
    "taps": [
        {
            "name": str,
            "group": str,
            "width": int,
            "bytes": int,
            "flops": float,
            "probe": READING,
            "neighbours": READING,
            **{name: {"value": (float, None), "why": (str, None)} for name in SCORES},
        }
    ],
    "joined": [{"name": str, "taps": [str], "width": int, "probe": READING}],
    "classes": [
        {"name": str, "n": int, "recalls": [float], "best": (int, None), "near": (int, None), "alike": (int, None)}
    ],
    "agreement": {str: AGREEMENT},
    "seconds": {str: float},
    "versions": {str: str},
}
"""The shape of profile.json, as `frostline.files.shapes` checks it; depths count from 0, at the input."""


def find_profile_folder(config: Run) -> Path:
    """Return the folder of a resolved config's profile, named by a hash of what it depends on."""
    identity = make_identity(config)
    kept = {key: identity[key] for key in MATTERS if key in identity}
    return Path(config.outputs) / "profiles" / sha256_json({"format": FORMAT, **kept})[:12]


def read_profile(folder: Path) -> dict[str, Any] | None:
    """Return a profile, None where there is none. Raises UserError, naming the field, for a damaged one."""
    try:
        content = read_json(folder / PROFILE)
        check_shape(content, SHAPE, "")
        check_depths(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / PROFILE}: this is no depth profile ({error}); remove it and profile again."
        ) from error
    return content


def check_depths(content: Mapping[str, Any]) -> None:
    """Raise ValueError for a profile of another version, and for depths and classes that are not its taps'."""
    if content["format"] != FORMAT:
        raise ValueError(f"format is {content['format']}, and this Frostline reads {FORMAT}")
    taps = len(content["taps"])
    depths = {"best": content["best"]}
    for place, one in enumerate(content["classes"]):
        depths |= {f"classes[{place}].{name}": one[name] for name in ("best", "near", "alike")}
        if len(one["recalls"]) not in (0, taps):
            raise ValueError(f"classes[{place}].recalls has {len(one['recalls'])} values for {taps} taps")
    for name, depth in depths.items():
        if depth is not None and not 0 <= depth < taps:
            raise ValueError(f"{name} is {depth}, and there are {taps} taps")


def list_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each tap, then for each union of taps, as profile.csv has them; None for what is not known."""
    rows = []
    for tap in content["taps"]:
        row = {"tap": tap["name"], **{key: tap[key] for key in ("group", "width", "bytes", "flops")}}
        row |= _spell_reading("probe", tap["probe"]) | _spell_reading("neighbours", tap["neighbours"])
        rows.append(row | {name: tap[name]["value"] for name in SCORES})
    for one in content["joined"]:
        rows.append({"tap": f"joined: {one['name']}", "width": one["width"], **_spell_reading("probe", one["probe"])})
    return rows


def _spell_reading(name: str, reading: Mapping[str, Any]) -> dict[str, Any]:
    spread, gap = reading["interval"] or {}, reading["gap"] or {}
    found = {name: reading["value"], f"{name}_low": spread.get("low"), f"{name}_high": spread.get("high")}
    return found | ({"gap_low": gap.get("low"), "gap_high": gap.get("high")} if name == "probe" else {})


def is_alike(reading: Mapping[str, Any]) -> bool:
    """Return whether the validation samples cannot tell a reading from that of the best tap."""
    return reading["gap"] is not None and reading["gap"]["low"] <= 0 <= reading["gap"]["high"]


def is_better(reading: Mapping[str, Any]) -> bool:
    """Return whether a reading, such as a joined head's, beats that of the best tap by more than chance."""
    return reading["gap"] is not None and reading["gap"]["high"] < 0


def find_first_alike(taps: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first depth whose probe cannot be told from the best one's, None where that is not known."""
    return next((depth for depth, tap in enumerate(taps) if is_alike(tap["probe"])), None)
