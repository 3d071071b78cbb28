"""What SLURM and Ray are asked for: the GPUs that a run takes, by name, for every trainer that is shipped."""

from pathlib import Path

import pytest

from frostline.config.compose import compose, list_config_groups, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.ray.launcher import Ray
from frostline.runs.calls import extract


def make(launcher: str, outputs: Path, *overrides: str) -> Run:
    return resolve(compose("run", [f"launcher={launcher}", f"outputs={outputs}", *overrides]))


# trainer, overrides, launcher.gpus_per_node: lines of the script that are there, and what is not
WANTED = {
    ("default", "trainer.accelerator=cpu", None): (1, None),
    ("default", "trainer.accelerator=gpu", None): (1, "1"),
    ("default", "trainer.accelerator=cuda", None): (1, "1"),
    ("default", "", 2): (1, "2"),
    ("default", "", "a100:1"): (1, "a100:1"),
    ("ddp", "", None): (2, "2"),
    ("ddp", "trainer.devices=4", None): (4, "4"),
    ("ddp", "", "a100:4"): (2, "a100:4"),
    ("fsdp", "", None): (2, "2"),
    ("fsdp", "", 2): (2, "2"),
    ("ddp_cpu", "", None): (2, None),
    ("ddp_cpu", "", 1): (2, "1"),
}


def test_every_trainer_is_asked_for_here() -> None:
    assert {trainer for trainer, _, _ in WANTED} == set(list_config_groups()["trainer"])


@pytest.mark.parametrize(("trainer", "override", "gpus"), WANTED)
def test_a_job_asks_for_the_gpus_that_its_run_takes(
    trainer: str, override: str, gpus: object, tmp_path: Path, commands: Path
) -> None:
    (commands / "sbatch.out").write_text("Submitted batch job 7\n")
    given = [f"launcher.gpus_per_node='{gpus}'"] if isinstance(gpus, str) else [f"launcher.gpus_per_node={gpus}"]
    given = [override] if gpus is None else [*given, override]
    job = Job("one", make("slurm", tmp_path, f"trainer={trainer}", *filter(None, given)))
    assert job.config.trainer["accelerator"] in ("cpu", "cuda")
    with make_launcher([job.config]) as launcher:
        list(launcher.run([job]))
    script = next((tmp_path / "slurm").glob("7_submission.sh")).read_text().splitlines()
    tasks, wanted = WANTED[trainer, override, gpus]  # type: ignore[index]
    assert f"#SBATCH --ntasks-per-node={tasks}" in script
    assert [line for line in script if line.startswith("#SBATCH --gpus")] == (
        [f"#SBATCH --gpus-per-node={wanted}"] if wanted else []
    )


def test_auto_on_a_cluster_and_fewer_gpus_than_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^trainer.accelerator: auto .*=gpu or trainer.accelerator=cpu"):
        make("slurm", tmp_path)
    for gpus in ("1", "a100", "a100:1"):
        config = make("slurm", tmp_path, "trainer=ddp", f"launcher.gpus_per_node={gpus}")
        with pytest.raises(UserError, match="^launcher.gpus_per_node: .* is less than the 2 GPUs"):
            make_launcher([config])


def test_the_extraction_has_a_gpu_where_any_run_has_one(tmp_path: Path, commands: Path) -> None:
    (commands / "sbatch.out").write_text("Submitted batch job 7\n")
    configs = [make("slurm", tmp_path, f"trainer.accelerator={kind}") for kind in ("cpu", "gpu")]
    with make_launcher(configs) as launcher:
        (lost,) = launcher.share(extract, configs, 1)  # this cluster runs nothing
    assert isinstance(lost, UserError)
    assert "#SBATCH --gpus-per-node=1" in next((tmp_path / "slurm").glob("7_submission.sh")).read_text()


@pytest.mark.parametrize(
    ("overrides", "gpus"),
    [
        ("trainer.accelerator=cpu", 0),
        ("trainer.accelerator=cpu launcher.gpus=1", 0),
        ("trainer.accelerator=gpu", 1),
        ("trainer.accelerator=gpu launcher.gpus=0.5", 0.5),
        ("trainer.accelerator=auto launcher.gpus=0.5", 0.5),
        ("trainer.accelerator=auto launcher.gpus=0", 0),
        ("trainer=ddp trainer.accelerator=gpu", 2),
        ("trainer=fsdp trainer.accelerator=gpu launcher.gpus=2", 4),
        ("trainer=ddp_cpu", 0),
    ],
)
def test_a_run_on_ray_is_given_the_gpus_that_its_devices_are(overrides: str, gpus: float, tmp_path: Path) -> None:
    launcher = make_launcher([make("ray", tmp_path, *overrides.split())])
    assert isinstance(launcher, Ray) and launcher.needs == {"num_cpus": 1, "num_gpus": gpus}
