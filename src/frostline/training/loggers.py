"""What people already follow their runs with: Lightning's loggers, chosen by config, none of which can stop a run."""

import inspect
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from frostline.config.allow import instantiate, list_components, locate
from frostline.config.schema import Run
from frostline.config.secrets import flatten_config, without_credentials
from frostline.config.writers import check_loggers
from frostline.errors import UserError
from frostline.files.atomic import read_json, write_json

log = logging.getLogger(__name__)
IDS = "loggers.json"
"""In a run's folder: the name under which each logger keeps it, so that a run that goes on does so there too."""
EXTRAS = {"MLFlowLogger": "mlflow", "TensorBoardLogger": "tensorboard", "WandbLogger": "wandb"}
PLACES = ("logger", "launcher", "outputs", "force", "debug", "compare")
"""Keys that are no hyperparameters."""
MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow's that are set where they are not: by default it tries a dead server for minutes."""


class Loggers:
    """The loggers of one run, by name; one that fails is left out from there on, with a warning, and the run goes on.

    ``ids`` are those under which an earlier sitting's loggers kept the run; ``seconds`` is what their start has taken
    (an import, a server), for which no strategy is to blame.
    """

    def __init__(self, found: Mapping[str, Logger], folder: Path, ids: Mapping[str, str], seconds: float = 0.0):
        self.found, self.folder, self.ids, self.seconds = dict(found), folder, dict(ids), seconds
        self.parameters: dict[str, Any] = {}

    @contextmanager
    def following_run(self, config: Run, history: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Log the config at the beginning, and at the end whether the run succeeded or failed.

        ``history`` holds the rows of earlier sittings, for loggers that have not seen them.
        """
        started = time.monotonic()
        self.parameters = flatten_config({key: value for key, value in config.plain().items() if key not in PLACES})
        self._call_each(lambda name, logger: self._begin(name, logger, history))
        if self.found:
            write_json(self.folder / IDS, self.ids)
        self.seconds += time.monotonic() - started
        try:
            yield
        except BaseException:
            self._call_each(lambda name, logger: close_logger(logger, "failed"))
            raise
        self._call_each(lambda name, logger: close_logger(logger, "success"))

    def _begin(self, name: str, logger: Logger, history: Sequence[Mapping[str, Any]]) -> None:
        if name not in self.ids:
            logger.log_hyperparams(self.parameters)
            for row in history:
                logger.log_metrics(find_numbers(row), row["epoch"])
        elif isinstance(logger, MLFlowLogger):  # which refuses parameters that differ, and calls the run ended
            logger.experiment.update_run(logger.run_id, status="RUNNING")
        logger.save()
        self.ids[name] = str(logger.version)

    def log_row(self, row: Mapping[str, Any]) -> None:
        """Log the row of an epoch that has just ended."""
        self._call_each(lambda name, logger: logger.log_metrics(find_numbers(row), row["epoch"]))

    def end(self, scores: Mapping[str, float], epoch: int) -> None:
        """Log what a run came to: test scores and costs."""

        def log_end(name: str, logger: Logger) -> None:
            if isinstance(logger, TensorBoardLogger):  # its table of hyperparameters shows what comes with them
                logger.log_hyperparams(self.parameters, find_numbers(scores), epoch)
            else:
                logger.log_metrics(find_numbers(scores), epoch)

        self._call_each(log_end)

    def _call_each(self, act: Callable[[str, Logger], None]) -> None:
        for name, logger in list(self.found.items()):
            try:
                act(name, logger)
            except Exception as error:  # a service's client may raise anything, and the run is worth more than its log
                warn_of_failure(name, error)
                del self.found[name]


def warn_of_failure(name: str, error: Exception) -> None:
    """Warn of a logger that fails."""
    reason = without_credentials((str(error).splitlines() or [""])[0])
    log.warning("The logger %s is left out from here on (%s: %s); the run goes on.", name, type(error).__name__, reason)


def close_logger(logger: Logger, status: str) -> None:
    """Tell a logger that the run has ended, as ``success`` or ``failed``."""
    logger.finalize(status)
    if isinstance(logger, WandbLogger):
        logger.experiment.finish(exit_code=0 if status == "success" else 1)


def find_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be drawn of a row: its finite numbers, without the epoch, which is the step."""
    drawn = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "epoch"}
    return {key: float(value) for key, value in drawn.items() if math.isfinite(value)}


def make_loggers(config: Run, folder: Path) -> Loggers:
    """Return the loggers that ``logger`` names: none, one (a `_target_`) or several, each under a name of its own.

    Nothing is sent yet. Raises UserError for a wrong key and for a package that is not installed.
    """
    started = time.monotonic()
    check_loggers(config.logger, Path(config.outputs))
    ids = {} if config.force else read_ids(folder)
    found = {}
    for name, (where, node) in list_components(config.logger, "logger").items():
        given = complete_arguments(node, folder, Path(config.outputs), ids.get(name))
        try:
            found[name] = make_logger(node, where, given)
        except UserError as error:
            if not isinstance(error.__cause__, Exception) or isinstance(error.__cause__, TypeError | ValueError):
                raise
            warn_of_failure(name, error.__cause__)
    return Loggers(found, folder, ids, time.monotonic() - started)


def read_ids(folder: Path) -> dict[str, str]:
    """Return what an earlier sitting wrote of its loggers, nothing where that is damaged."""
    try:
        found = read_json(folder / IDS)
    except (OSError, ValueError):
        return {}
    return {name: one for name, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}


def complete_arguments(node: Mapping[str, Any], folder: Path, outputs: Path, known: str | None) -> dict[str, Any]:
    """Return what a run gives a logger beside its config: its folder, its names where they are null, its old id."""
    target = str(node["_target_"])
    if target.endswith(".MLFlowLogger"):
        for name, value in MLFLOW.items():
            os.environ.setdefault(name, value)
        address = node.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
        return {
            "tracking_uri": address or f"sqlite:///{(outputs / 'mlflow.db').resolve()}",
            "experiment_name": node.get("experiment_name") or "frostline",
            "run_name": node.get("run_name") or folder.name,
            "run_id": known,
        }
    if target.endswith(".WandbLogger"):
        settings = {"x_disable_meta": True, **(node.get("settings") or {})}  # else it sends the command line, unasked
        return {"save_dir": str(folder), "name": node.get("name") or folder.name, "id": known, "settings": settings}
    takes_folder = "save_dir" in inspect.signature(locate(target, "logger")).parameters
    return {"save_dir": str(folder)} if takes_folder else {}


def make_logger(node: Mapping[str, Any], where: str, given: Mapping[str, Any]) -> Logger:
    """Return a logger made from its node. Raises UserError, with what to install where a package is missing."""
    try:
        return instantiate(node, where, **given)
    except UserError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        extra = EXTRAS.get(str(node["_target_"]).rpartition(".")[2])
        how = f"pip install 'frostline[{extra}]'" if extra else "its own instructions"
        raise UserError(f"{where}: it needs a package that is not installed; install it with: {how}.") from None
