"""A callback of somebody's own, which configs name with --allow: each rank writes what it finds of the scores."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback


class Reporting(Callback):
    """Writes all scores of each epoch to a file of its rank in the run's folder."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        with (Path(trainer.default_root_dir) / f"found-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
