"""The YAML file of each strategy: it plans on every family."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from frostline.freeze import strategies

FAMILIES = {
    "resnet": ["stem", *(f"stage{i}" for i in range(1, 5))],
    "efficientnet": ["stem", *(f"stage{i}" for i in range(1, 8))],
    "vit": ["stem", *(f"block{i}" for i in range(1, 13))],
}
STRATEGIES = (
    "scratch random_features linear_probe last_k surgical full layer_decay lp_ft gradual chain_thaw norm_only "
    "bias_only fpt orca"
)
CONF = Path(__file__).parents[2] / "conf" / "freeze"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("family", FAMILIES)
def test_config_plans_on_every_family(path: Path, family: str) -> None:
    text = path.read_text()
    assert text.startswith(f"# frostline run freeze={path.stem}")
    options = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(options, dict)
    assert options.pop("_target_") == f"frostline.freeze.strategies.{path.stem}"
    groups = ["adapter", *FAMILIES[family]] if path.stem in ("fpt", "orca") else FAMILIES[family]
    plan = getattr(strategies, path.stem)(groups, 20, **{str(key): value for key, value in options.items()})
    assert plan.epochs == 20 and plan.groups == tuple(groups)


def test_every_strategy_has_a_config() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == {*STRATEGIES.split(), "custom"}
