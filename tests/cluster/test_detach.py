"""`--detach`: a command submits, and leaves; the report comes later, and nothing is run twice."""

import json
from pathlib import Path

import pytest
import timm
from lab import Lab, wait_for
from safetensors.torch import save_file

pytestmark = pytest.mark.slow
SMALL = (
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=weights.safetensors",
    "data.size=32",
    "data.num_per_class=4",
    "epochs=2",
    "trainer.accelerator=cpu",
    "launcher=slurm",
    "launcher.threads=1",
)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path) -> None:
    """Weights that are the same for all: random ones have no place in a cache that runs share."""
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")


def jobs(lab: Lab) -> list[str]:
    """Return the cluster's jobs as job name and state, ended ones included."""
    return sorted(lab("squeue", "-h", "-r", "-t", "all", "-o", "%j %T").splitlines())


def test_a_comparison_that_is_left_to_itself(lab: Lab, frostline, tmp_path: Path) -> None:
    command = ("compare", "compare.strategies=[linear_probe, full]", "compare.seeds=[0]", "compare.name=small", *SMALL)
    earlier = jobs(lab)
    left = frostline(*command, "--detach")
    assert left.returncode == 0, left.stderr
    assert left.stdout.splitlines()[-2:] == [
        "2 runs were submitted; when they have ended the same command goes on, and writes the report",
        "outputs/comparisons/small",
    ]
    again = frostline(*command, "--detach")  # attaches to what is there
    waiting, *last = again.stdout.splitlines()[-2:]
    assert again.returncode == 0 and last, again.stderr
    if last == ["outputs/comparisons/small"]:
        assert "2 runs were submitted" in waiting
    else:  # on a busy machine they have ended before the command looks, which then writes the report
        assert last == ["outputs/comparisons/small/report.html"]
    wait_for(lambda: not lab("squeue", "-h"), 120)
    submitted = jobs(lab)
    assert (
        len(submitted) == len(earlier) + 5
    )  # an array of three that fills the caches, and one of two that waits for it
    report = frostline("report", "outputs/comparisons/small")
    assert report.returncode == 0, report.stderr
    ended = frostline(*command)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "outputs/comparisons/small/report.html"
    assert len(jobs(lab)) == len(submitted) + 1, "the profile, which a sitting that waits makes"
    content = json.loads((tmp_path / "outputs/comparisons/small/comparison.json").read_text())
    assert all(one["path"] is not None for one in content["profiles"]), "the last sitting has made it"
    logs = [path.read_text() for path in (tmp_path / "outputs").glob("runs/*/log.txt")]
    assert len(logs) == 2 and not [text for text in logs if "Cached" in text]


def test_a_sweep_and_a_run_that_are_left_to_themselves(lab: Lab, frostline, tmp_path: Path) -> None:
    left = frostline("run", "-m", "seed=0,1", "freeze=linear_probe", "--detach", *SMALL)
    assert left.returncode == 0 and "sweep: 0 of 2 runs done, 2 submitted; " in left.stderr, left.stderr
    one = frostline("run", "seed=0", "freeze=linear_probe", "--detach", *SMALL)
    assert one.returncode == 0 and one.stdout.startswith("submitted; the same command again goes on with it: "), one
    ended = frostline("run", "-m", "seed=0,1", "freeze=linear_probe", *SMALL)
    assert ended.returncode == 0 and "sweep: 2 of 2 runs done; " in ended.stderr, ended.stderr
    names = {json.loads(path.read_text())["name"] for path in (tmp_path / "outputs").glob("runs/*/job.json")}
    assert len(names) == 1


def test_only_a_launcher_with_a_queue_can_be_left(frostline) -> None:
    refused = frostline("run", "--detach", *SMALL[:-2])
    assert refused.returncode == 2 and "launcher.detach: there is no such key" in refused.stderr, refused.stderr
