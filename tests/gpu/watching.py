"""A callback by which a step that waits for its GPU fails."""

from typing import Any

import pytorch_lightning as pl
import torch

from frostline.training.module import CHECK_EVERY


class Watch(pl.Callback):
    """Lets torch raise at whatever waits within a step, but for the first, which sets up much, and those that look."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if batch_idx % CHECK_EVERY else "default")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        torch.cuda.set_sync_debug_mode("default")
