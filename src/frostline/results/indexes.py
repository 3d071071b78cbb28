"""comparison.json and study.json as they are read: checked once, like records."""

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


def load_comparison(path: Path, format: int) -> dict[str, Any]:
    """Return what a comparison.json says. Raises OSError or ValueError where it is none of this format."""
    return _load(path, format, COMPARISON)


def load_study(path: Path, format: int) -> dict[str, Any]:
    """Return what a study.json says. Raises OSError or ValueError where it is none of this format."""
    return _load(path, format, STUDY)


def _load(path: Path, format: int, shape: Any) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != format:
        raise ValueError(f"it is not of format {format}")
    check_shape(content, shape, "")
    return content
