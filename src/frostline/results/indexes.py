"""comparison.json, study.json and advice.json as they are read: checked once, like records."""

from pathlib import Path
from typing import Any

from frostline.files.atomic import read_json
from frostline.files.shapes import check_shape

PLACED = {"label": str, "block": {str: object}, "lr": (float, None)}
PROFILED = {"label": str, "block": {str: object}, "path": (str, None), "why": (str, None)}
COMPARISON = {
    "format": int,
    "factor": str,
    "axes": {str: list},
    "tuned": [{**PLACED, "edge": (str, None), "extended": bool, "why": (str, None)}],
    "runs": [{**PLACED, "seed": int, "trial": bool, "path": str, "epochs?": (int, None)}],
    "name?": (str, None),
    "command?": (str, None),
    "budget?": (dict, None),
    "lr_grid?": ([float], None),
    "lr_seed?": (int, None),
    "wall_seconds?": (float, None),
    "extraction?": ({str: (float, None)}, None),
    "profiles?": [PROFILED],
    "facts?": ([{"flops?": (float, None), "phases?": int, "stepped?": bool}], None),
}
TRIAL = {
    "number": int,
    "status": str,
    "reason": (str, None),
    "value": (float, None),
    "values": [[object]],
    "point": dict,
    "overrides": [str],
    "seconds": (float, None),
    "epochs": (int, None),
    "same_as": (int, None),
    "id": (str, None),
    "path": (str, None),
}
STUDY = {
    "format": int,
    "monitor": str,
    "space": [dict],
    "trials": [TRIAL],
    "base": [str],
    "final?": ({"path": str}, None),
    "name?": (str, None),
    "command?": (str, None),
    "direction?": str,
    "wall_seconds?": (float, None),
    "importances?": (dict, None),
    "wanted?": (int, None),
    "epochs?": (int, None),
}
ADVICE_TRIAL = {
    "name": str,
    "strategy": str,
    "rate": (float, None),
    "seed": int,
    "id": str,
    "path": str,
    "overrides": [str],
    "entry": {str: {str: object}},
    "epochs": int,
    "seconds": float,
    "out": (str, None),
    "done": int,
    "value": (float, None),
    "error": (float, None),
    "interval": ({"low": float, "high": float}, None),
    "curve": [[float]],
}
RACER = {"name": str, "epochs": int, "seconds": float, "start": float, "done": int, "out": (str, None)}
ANSWER = {
    "name": str,
    "strategy": str,
    "rate": (float, None),
    "seed": int,
    "epochs": int,
    "planned": int,
    "id": str,
    "path": str,
    "validation": (float, None),
    "expected": ({"value": float, "low": float, "high": float}, None),
    "level": float,
    "test": (float, None),
    "alike": [str],
    "noises?": {str: float},
    "prices": [{"name": str, "seconds": float, "value": float}],
    "open": [{"name": str, "seconds": float, "chance": float}],
}
ADVICE_FILE, ADVICE_FORMAT = "advice.json", 1
ADVICE = {
    "format": int,
    "design": str,
    "name": str,
    "command": str,
    "base": [str],
    "metric": str,
    "lower_is_better": bool,
    "within": float,
    "least": float,
    "seconds": float,
    "found": ({"data": dict, "runs": [{"error?": (str, None), "data?": str, "counts?": {str: int}}]}, None),
    "notes": [str],
    "history": [str],
    "pace": (float, None),
    "profile": (str, None),
    "trials": [ADVICE_TRIAL],
    "moves": [{"at": float, "what": str, "name": str, "reason": str, "until?": int, "state?": {"racers": [RACER]}}],
    "answer": (ANSWER, None),
}


def load_comparison(path: Path, format: int) -> dict[str, Any]:
    """Return what a comparison.json says. Raises OSError or ValueError where it is none of this format."""
    return _load(path, format, COMPARISON)


def load_study(path: Path, format: int) -> dict[str, Any]:
    """Return what a study.json says. Raises OSError or ValueError where it is none of this format."""
    return _load(path, format, STUDY)


def load_advice(folder: Path) -> dict[str, Any]:
    """Return what the advice.json in a folder says. Raises OSError or ValueError where it is none of this format."""
    return _load(folder / ADVICE_FILE, ADVICE_FORMAT, ADVICE)


def _load(path: Path, format: int, shape: Any) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != format:
        raise ValueError(f"it is not of format {format}")
    check_shape(content, shape, "")
    return content
