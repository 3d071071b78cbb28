"""Where a strategy's frozen part ends, and how well what was known there foretold the order of strategies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.profile_contents import make_content, make_reading

from frostline.freeze import strategies
from frostline.freeze.plan import Plan
from frostline.report.read.comparison import Comparison
from frostline.report.read.profiles import CellProfile
from frostline.report.read.runs import RunSummary
from frostline.report.statistics.analysis import Analysis
from frostline.report.statistics.foretelling import TRAINS_ALL, foretell, name_frozen_taps
from frostline.tasks.declarations import REGRESSION, UNKNOWN

GROUPS = [f"stage{place}" for place in range(5)]  # those of `make_content`, a tap each
PLANS = {
    "linear_probe": strategies.linear_probe(GROUPS, 9),
    "last_k(k=1)": strategies.last_k(GROUPS, 9, 1),
    "last_k(k=3)": strategies.last_k(GROUPS, 9, 3),
    "lp_ft(k=2)": strategies.lp_ft(GROUPS, 9, 0.2, 0.5, 2),
    "surgical": strategies.surgical(GROUPS, 9, ["stage1", "stage3"]),
    "full": strategies.full(GROUPS, 9),
    "lp_ft": strategies.lp_ft(GROUPS, 9, 0.2, 0.5, None),
    "chain_thaw": strategies.chain_thaw(GROUPS, 9, 0.1),
    "gradual": strategies.gradual(GROUPS, 9, 2.6, 1),
    "norm_only": strategies.norm_only(GROUPS, 9),
    "scratch": strategies.scratch(GROUPS, 9),
    "random_features": strategies.random_features(GROUPS, 9),
}


def make_summary(label: str, plan: Plan, score: float, taps: str | None = None, **more: Any) -> RunSummary:
    """Return a finished run of a plan."""
    texts = {"config": json.dumps({"head": {"taps": taps}}), "plan": json.dumps(plan.to_dict())}
    told = {"status": "done", "monitor": "accuracy", "scores": {"accuracy": score}, **texts, **more}
    return RunSummary(label, (), 0, Path(label), **told)


def analyse(runs: Sequence[RunSummary], content: Mapping[str, Any] | None = None) -> Analysis:
    """Return the analysis of a comparison of one block, all of it with one profile."""
    profiles = [CellProfile(run.label, (), content or make_content()) for run in runs]
    return Analysis(Comparison("toy", "freeze", {"freeze": [run.label for run in runs]}, runs, profiles=profiles))


def test_each_strategy_stands_where_its_frozen_part_ends() -> None:
    analysis = analyse([make_summary(label, plan, 0.5) for label, plan in PLANS.items()])
    found = foretell(analysis, ())
    ends = {one.label: one.tap for one in found.placed}
    known = {"linear_probe": 4, "last_k(k=1)": 3, "last_k(k=3)": 1, "lp_ft(k=2)": 2, "surgical": 0}
    assert ends == {label: f"blocks.{depth}" for label, depth in known.items()}
    assert all(found.left_out[label] == TRAINS_ALL for label in ("full", "lp_ft", "chain_thaw", "gradual", "norm_only"))
    assert all("random weights" in found.left_out[label] for label in ("scratch", "random_features"))
    assert name_frozen_taps(analysis.comparison) == [ends.get(run.label) for run in analysis.comparison.runs]
    probe = next(one for one in found.placed if one.label == "lp_ft(k=2)")
    assert probe.columns == {"probe": 0.85, "neighbours": 0.75, "logme": 0.425, "h_score": 0.425, "nleep": None}


def test_who_has_no_place_is_told_why() -> None:
    probe = PLANS["linear_probe"]
    runs = [
        make_summary("joined", probe, 0.9, "all"),
        make_summary("lost", probe, 0.9, status="failed"),
        make_summary("strange", strategies.last_k(["a", "b"], 3, 1), 0.9),
    ]
    analysis = analyse(runs)
    assert foretell(analysis, ()).left_out == {
        "joined": "its head reads several depths at once",
        "lost": "it has no result",
        "strange": "no depth is known to lie in what it leaves frozen",
    }
    bare = Comparison("toy", "freeze", {}, runs[:1], profiles=[CellProfile("joined", (), None, "No.")])
    assert foretell(Analysis(bare), ()).left_out == {"joined": "its network has no depth profile"}
    damaged = replace(make_summary("damaged", probe, 0.5), plan='{"groups": 3, "phases": [7, {"train": "head"}]}')
    assert list(foretell(analyse([damaged]), ()).left_out) == ["damaged"]


@given(order=st.permutations(range(5)), lower=st.booleans())
def test_the_order_of_scores_decides_and_not_their_size(order: list[int], lower: bool) -> None:
    labels = ["linear_probe", "last_k(k=1)", "lp_ft(k=2)", "last_k(k=3)", "surgical"]
    scores = {label: 0.1 + place**2 / 100 for label, place in zip(labels, order, strict=True)}
    content = make_content()
    content["metric"]["lower_is_better"] = lower
    for depth, label in zip((4, 3, 2, 1, 0), labels, strict=True):
        content["taps"][depth]["probe"] = make_reading(10 * scores[label])
        content["taps"][depth]["logme"] = {"value": -scores[label], "why": None}
    declaration, metric = (REGRESSION, "rmse") if lower else (UNKNOWN, "accuracy")
    told = {"declaration": declaration, "monitor": metric}
    runs = [make_summary(label, PLANS[label], 0, **told, scores={metric: scores[label]}) for label in labels]
    found = foretell(analyse(runs, content), ())
    assert found.agreements["probe"].tau == pytest.approx(1)
    assert found.agreements["logme"].tau == pytest.approx(1 if lower else -1)
    assert found.agreements["nleep"].n == 0 and found.agreements["nleep"].tau is None
    assert [one.label for one in found.placed] == sorted(labels, key=lambda label: scores[label] * (1 if lower else -1))
