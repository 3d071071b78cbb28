"""The Trainer of a run: Lightning's, with what Frostline does itself turned off."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from frostline.config.allow import BARS
from frostline.config.schema import Run, instantiate
from frostline.ranks.collectives import make_cluster_environment


def make_trainer(config: Run, folder: Path) -> pl.Trainer:
    """Return the one Trainer of a run; checkpoints, sample order and logging are Frostline's own.

    A Trainer of Lightning's closes its loggers at the end of every fit, and a run has one for each phase.
    """
    node = {key: value for key, value in config.trainer.items() if key != "matmul_precision"}  # see `set_numerics`
    node["enable_progress_bar"] = node.get("enable_progress_bar", True) and sys.stderr.isatty()
    if not node["enable_progress_bar"]:
        node["callbacks"] = without_bars(node.get("callbacks"))  # which Lightning would refuse
    return instantiate(
        node,
        "trainer",
        plugins=[make_cluster_environment()],
        sync_batchnorm=False,  # see `Backbone.synchronise`
        logger=False,
        max_epochs=config.epochs,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
    )


def without_bars(callbacks: Any) -> list[Any]:
    """Return the nodes of callbacks that are no progress bars."""
    listed = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    return [node for node in listed if not (isinstance(node, Mapping) and node.get("_target_") in BARS)]


def make_lone_trainer(node: Mapping[str, Any]) -> pl.Trainer:
    """Return a Trainer that only says on which device and in which precision a run's ``trainer`` computes."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    kept = {key: node[key] for key in ("_target_", "accelerator", "precision") if key in node}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return instantiate({**kept, **quiet, "devices": 1}, "trainer", plugins=[make_cluster_environment()], logger=False)
