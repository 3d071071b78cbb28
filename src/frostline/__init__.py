"""Frostline: how much of a pretrained network should be frozen, and what does that cost?"""

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all else here

__version__ = "0.1.0"

if TYPE_CHECKING:
    from frostline.api.advice import advise as advise
    from frostline.api.comparisons import compare as compare
    from frostline.api.fit import fit as fit
    from frostline.api.fit import make_plan as make_plan
    from frostline.api.own import backbone as backbone
    from frostline.api.own import tensors as tensors
    from frostline.api.own import train as train
    from frostline.api.profiles import profile as profile
    from frostline.api.results import records as records
    from frostline.api.runs import run as run
    from frostline.api.studies import tune as tune
    from frostline.errors import UserError as UserError

PLACES = {
    "run": "frostline.api.runs",
    "compare": "frostline.api.comparisons",
    "advise": "frostline.api.advice",
    "tune": "frostline.api.studies",
    "profile": "frostline.api.profiles",
    "records": "frostline.api.results",
    "backbone": "frostline.api.own",
    "tensors": "frostline.api.own",
    "train": "frostline.api.own",
    "fit": "frostline.api.fit",
    "make_plan": "frostline.api.fit",
    "UserError": "frostline.errors",
}
"""Where the Python API stands, which is imported when it is first used: the program and its workers start sooner."""

__all__ = [
    "UserError",
    "advise",
    "backbone",
    "compare",
    "fit",
    "make_plan",
    "profile",
    "records",
    "run",
    "tensors",
    "train",
    "tune",
]


def __getattr__(name: str) -> object:
    import importlib

    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
