"""No file, no report and no message holds the value of an environment variable that a config refers to."""

from pathlib import Path

import pytest

from frostline.commands import main

SECRET = "hunter2-hunter2"
TINY = [
    *("data=digits", "data.num_per_class=5", "data.size=32", "epochs=1", "trainer.accelerator=cpu"),
    *("backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "launcher.threads=1"),
]


@pytest.mark.slow
def test_a_secret_is_in_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise 35: a run, a run that fails on it, a comparison and a study, each with its report."""
    pytest.importorskip("optuna")
    monkeypatch.setenv("PRIVATE", SECRET)
    monkeypatch.chdir(tmp_path)
    table = ["+logger._target_=pytorch_lightning.loggers.CSVLogger", "+logger.name=table"]
    shared = [*TINY, *table, "label='${oc.env:PRIVATE}'"]
    weights = "backbone.weights='/nowhere/${oc.env:PRIVATE}.safetensors'"
    assert main(["run", *shared, weights]) == 2
    assert main(["run", "--cfg", "job", "--resolve", *shared]) == 0
    compare = ["compare", *shared, "compare.strategies=[linear_probe]", "compare.seeds=[0]", "compare.name=one"]
    assert main(compare) == 0
    assert main([*compare, weights]) == 2
    storage = "tune.storage='sqlite:///${oc.env:PRIVATE}.db'"
    assert main(["tune", *shared, storage, "tune.trials=1", "tune.space={optimizer.lr: [0.1, 0.2]}"]) == 0
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db"]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    text = next((tmp_path / "outputs" / "comparisons").rglob("comparison.json")).read_text()
    assert "${oc.env:PRIVATE}" in text
