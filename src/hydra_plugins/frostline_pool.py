"""Hydra's launcher `pool`: the runs of `frostline run -m`, by Frostline's own launcher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class PoolConf:
    """The launcher's node: what it runs jobs by is Frostline's own config group, `launcher`."""

    _target_: str = "hydra_plugins.frostline_pool.PoolLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolConf, provider="frostline")


class PoolLauncher(Launcher):
    """Composes every job, then runs them all by one launcher."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; each one's outcome is written as it ends, and none that fails raises."""
        from frostline.commands.run import resolve_swept, write_outcome, write_submitted
        from frostline.launchers.base import Job, make_launcher
        from frostline.launchers.progress import Screen, run_all

        setup_globals()
        folders: dict[Job, Path] = {}

        def collect(composed: DictConfig) -> None:
            config = resolve_swept(composed)
            if config is not None:
                name = names[HydraConfig.get().job.num - initial_job_idx]
                folders[Job(name, config)] = Path(HydraConfig.get().runtime.output_dir)

        names = name_jobs(job_overrides)
        returned = [self._job(collect, one, number) for number, one in enumerate(job_overrides, initial_job_idx)]
        if folders:
            jobs = list(folders)
            with make_launcher([job.config for job in jobs]) as launcher:
                ends = run_all(
                    jobs, launcher, Screen(), lambda job, outcome, seconds: write_outcome(folders[job], outcome)
                )
            for job in folders.keys() - {job for job, _, _ in ends}:  # those that a detached launcher has left
                write_submitted(folders[job], job)
        return returned

    def _job(self, function: TaskFunction, overrides: Sequence[str], number: int) -> JobReturn:
        """Call a function with a job's config as Hydra's own launchers do."""
        config: Any = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return run_job(
            hydra_context=self.context,
            task_function=function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def name_jobs(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return a name for each job: those of its overrides that not all jobs have."""
    shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    return [" ".join(one for one in job if one not in shared) for job in jobs]
