"""A search: trials that leave the test split alone, a final run that does not, and mistakes found before the first."""

from collections.abc import Callable

import pytest

from frostline.errors import UserError
from frostline.tuning.search import Search

Make = Callable[..., Search]


def test_trials_and_the_final_run_differ_in_seed_and_test(search: Make) -> None:
    found = search("seed=3", "tune.pruner=asha")
    trial, final = found.make_trial({"optimizer.lr": 0.1}, 7), found.make_final({"optimizer.lr": 0.1})
    assert (trial.seed, trial.test, trial.judged) == (4, False, True)
    assert (final.seed, final.test, final.judged) == (3, True, False)
    assert trial.optimizer["lr"] == final.optimizer["lr"] == 0.1
    assert trial.label == "trial 7 optimizer.lr=0.1" and trial.group == found.name
    assert "tune" not in trial.plain() and "tune" not in final.plain()


def test_the_name_hangs_on_what_makes_another_study_and_on_nothing_else(search: Make) -> None:
    first = search().name
    assert first.startswith("digits-timm-")
    assert {search(one).name for one in ("tune.trials=50", "tune.timeout_s=5", "launcher.workers=2")} == {first}
    others = [search(one).name for one in ("tune.sampler=random", "tune.pruner=asha", "epochs=5", "tune.seed=9")]
    others.append(search(swept=("optimizer.lr=tag(log,interval(1e-4,0.5))",)).name)
    assert len({first, *others}) == 6


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tune.sampler=best"], "tune.sampler: .*tpe"),
        (["tune.pruner=best"], "tune.pruner: .*asha"),
        (["tune.trials=0"], "tune.trials: 0 is invalid"),
        (["tune.factor=1"], "tune.factor"),
        (["tune.seed=0"], "tune.seed: 0 is the final run's"),
        (["test=false"], "^test: a study tests its final run once"),
        (["tune.name=../x"], "tune.name"),
        (["tune.pruner=asha", "tune.min_epochs=4"], "tune.min_epochs: 4 leaves no epoch of 4"),
        (["tune.sampler=grid"], "optimizer.lr: a grid takes"),
        (["tune.wrong=1"], "tune.wrong"),
        (["optimizer.lr=0.1"], "optimizer.lr: it is searched, and given as well"),
        (["tune.space={freeze: [full, nonsense]}"], "nonsense"),
        (["tune.space={optimizer.nonsense: [1, 2]}"], "optimizer.nonsense"),
        (["tune.space={freeze: [full, last_k], freeze.k: {int: [1, 3]}}"], "freeze.k"),
        (["tune.space={data.batch_size: {int: [0, 64]}}"], "data.batch_size: 0 is invalid"),
        (["tune.space={head._target_: [os.system, builtins.eval]}"], "allow-list"),
    ],
)
def test_mistakes_are_found_before_the_first_run(search: Make, overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        search(*overrides)
