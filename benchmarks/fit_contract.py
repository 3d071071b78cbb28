"""What each way to fine-tune one's own LightningModule in phases gets right: a table, every cell of which is measured.

    pip install --no-deps --target FOLDER finetuning-scheduler lightning
    PYTHONPATH=FOLDER python benchmarks/fit_contract.py

The head trains for 2 epochs, then all for 2 more, the backbone at a tenth of the rate; Frostline's `fit`, Lightning's
BackboneFinetuning and BaseFinetuning (with train_bn=False, as BatchNorm is to be frozen; the former forgets it when it
freezes), and the package finetuning-scheduler, which wants the package lightning, on the same small module with
BatchNorm and dropout.
"""

import argparse
import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from frostline.api.fit import fit

pl: Any = importlib.import_module("lightning.pytorch" if find_spec("lightning") else "pytorch_lightning")
callbacks: Any = importlib.import_module(f"{pl.__name__}.callbacks")
STEPS, HEAD_EPOCHS, EPOCHS = 4, 2, 4
HEAD_RATE, BODY_RATE = 0.01, 0.001
KILLS = {"with the head alone": STEPS + 2, "after unfreezing": 3 * STEPS + 2}
SCHEDULE = f"""0:
  params: ['classifier.*']
  max_transition_epoch: {HEAD_EPOCHS}
1:
  params: ['backbone.*']
  lr: {BODY_RATE}
  max_transition_epoch: {EPOCHS}
"""


class Net(pl.LightningModule):
    """A backbone of three blocks and a classifier, which looks at itself in every step."""

    def __init__(self, dropout: float, kill: int) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 8))
            for _ in range(3)
        ]
        self.backbone = nn.Sequential(*blocks)
        self.classifier = nn.Linear(8, 3)
        self.kill = kill
        self.found: dict[str, Any] = {"batch_norm": True, "dropout": True, "only": True}
        for part in self.backbone.modules():
            if isinstance(part, nn.BatchNorm1d | nn.Dropout):
                part.register_forward_hook(self._look)

    def _look(self, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """See whether a frozen module does in training what it does in evaluation."""
        if self.trainer.training and self.trainer.current_epoch < HEAD_EPOCHS:
            if isinstance(part, nn.BatchNorm1d):
                known = functional.batch_norm(inputs[0], self.means[part], self.spreads[part], part.weight, part.bias)
                self.found["batch_norm"] &= torch.allclose(known, output, atol=1e-5)
            else:
                self.found["dropout"] &= torch.equal(inputs[0], output)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.trainer.global_step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        norms = [part for part in self.backbone.modules() if isinstance(part, nn.BatchNorm1d)]
        if self.trainer.current_epoch < HEAD_EPOCHS:
            if not hasattr(self, "means"):
                self.means = {part: part.running_mean.clone() for part in norms}  # type: ignore[union-attr]
                self.spreads = {part: part.running_var.clone() for part in norms}  # type: ignore[union-attr]
            self.found["only"] &= set(self.rates()) == {"classifier.weight", "classifier.bias"}
        elif "moved" not in self.found and hasattr(self, "means"):
            pairs = [(p.running_mean, self.means[p]) for p in norms] + [(p.running_var, self.spreads[p]) for p in norms]
            self.found["moved"] = sum(not torch.equal(now, before) for now, before in pairs if now is not None)
        self.found["rates"] = self.rates()
        return functional.cross_entropy(self.classifier(self.backbone(batch[0])), batch[1])

    def rates(self) -> dict[str, float]:
        """Return the rate of each parameter that an optimizer holds."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        groups = self.trainer.optimizers[0].param_groups
        return {names[parameter]: group["lr"] for group in groups for parameter in group["params"]}

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        loss = functional.cross_entropy(self.classifier(self.backbone(batch[0])), batch[1])
        self.log("val_loss", loss, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([one for one in self.parameters() if one.requires_grad], lr=HEAD_RATE)


class Unfreeze(callbacks.BaseFinetuning):
    """A rule of one's own, as Lightning's documentation shows it."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.backbone, train_bn=False)

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == HEAD_EPOCHS:
            self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=BODY_RATE)


def make_loaders(shuffle: bool) -> tuple[DataLoader, DataLoader]:
    """Return loaders of a small training and a smaller validation set."""
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(96, 8, generator=random)
    data = TensorDataset(rows, (rows[:, 0] > 0).long() + (rows[:, 1] > 0).long())
    split = [TensorDataset(*data[:64]), TensorDataset(*data[64:])]
    return DataLoader(split[0], 16, shuffle=shuffle), DataLoader(split[1], 16)


def make_trainer(folder: Path, extra: list[Any], keeps: Any, ranks: int) -> Any:
    """Return a quiet Trainer on one CPU, or on ranks by DDP."""
    several = {"strategy": "ddp_find_unused_parameters_true", "devices": ranks} if ranks > 1 else {"devices": 1}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[*extra, keeps],
        default_root_dir=str(folder),
        **quiet,
        **several,
    )


def make_checkpoints(folder: Path, kind: str = "ModelCheckpoint", room: Any = callbacks) -> Any:
    """Return what keeps the last checkpoint."""
    return getattr(room, kind)(
        dirpath=str(folder), save_last=True, monitor="val_loss", filename="{epoch}", save_top_k=-1
    )


def by_frostline(net: Net, folder: Path, data: tuple[DataLoader, DataLoader], ranks: int) -> None:
    phases = [{"epochs": HEAD_EPOCHS, "train": {"head": 1.0}}, {"train": {"head": 1.0, "*": BODY_RATE / HEAD_RATE}}]
    trainer = make_trainer(folder, [], make_checkpoints(folder), ranks)
    options = {"head": "classifier", "resume": "last", "phases": phases}
    fit(trainer, net, data[0], "custom", val_dataloaders=data[1], **options)


def by_callback(make: Callable[[], Any]) -> Callable[..., None]:
    """Return what trains by a callback of Lightning's."""

    def train(net: Net, folder: Path, data: tuple[DataLoader, DataLoader], ranks: int) -> None:
        trainer = make_trainer(folder, [make()], make_checkpoints(folder), ranks)
        trainer.fit(net, *data, ckpt_path="last")

    return train


def by_scheduler(net: Net, folder: Path, data: tuple[DataLoader, DataLoader], ranks: int) -> None:
    scheduler: Any = importlib.import_module("finetuning_scheduler")
    path = folder / "schedule.yaml"
    path.write_text(SCHEDULE)
    rule = scheduler.FinetuningScheduler(ft_schedule=str(path), epoch_transitions_only=True, restore_best=False)
    trainer = make_trainer(folder, [rule], make_checkpoints(folder, "FTSCheckpoint", scheduler), ranks)
    trainer.fit(net, *data, ckpt_path="last")


def make_backbone_finetuning() -> Any:
    return callbacks.BackboneFinetuning(
        unfreeze_backbone_at_epoch=HEAD_EPOCHS,
        lambda_func=lambda epoch: 1.0,
        backbone_initial_lr=BODY_RATE,
        should_align=False,
        train_bn=False,
    )


WAYS: dict[str, Callable[..., None]] = {
    "frostline": by_frostline,
    "BackboneFinetuning": by_callback(make_backbone_finetuning),
    "BaseFinetuning": by_callback(Unfreeze),
    "finetuning-scheduler": by_scheduler,
}


def work(way: str, folder: Path, random: bool, kill: int, ranks: int) -> None:
    """Fine-tune in this process, and leave what was found in the folder."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "finetuning_scheduler"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pl.seed_everything(3)
    folder.mkdir(parents=True, exist_ok=True)
    net = Net(0.3 if random else 0.0, kill)
    try:
        WAYS[way](net, folder, make_loaders(random), ranks)
    except Exception as error:
        (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")
        raise
    tensors = {name: value.detach() for name, value in [*net.named_parameters(), *net.named_buffers()]}
    torch.save({**net.found, "tensors": tensors}, folder / f"rank-{net.global_rank}.pt")


def start(way: str, folder: Path, random: bool = True, kill: int = -1, ranks: int = 1) -> dict[str, Any] | None:
    """Do `work` in a process of its own and return what it left; None where it was killed."""
    if ranks > 1:
        command = [sys.executable, __file__, "--work", way, str(folder), "--ranks", str(ranks)]
        subprocess.run(command, capture_output=True, timeout=600)
    else:
        process = multiprocessing.get_context("fork").Process(target=work, args=(way, folder, random, kill, ranks))
        process.start()
        process.join()
    if (folder / "error.txt").exists():
        raise RuntimeError((folder / "error.txt").read_text().splitlines()[0])
    return torch.load(folder / "rank-0.pt") if (folder / "rank-0.pt").exists() else None


def compare_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    """Return yes where two sets of tensors are equal to the bit, or how many differ."""
    apart = sum(not torch.equal(value, other[name]) for name, value in one.items())
    return "yes" if not apart and one.keys() == other.keys() else f"no: {apart} of {len(one)} tensors differ"


def measure_resume(way: str, root: Path, random: bool, kill: int) -> str:
    """Return whether a run killed before a step, and started again, ends as one that was not."""
    name = f"{random}-{kill}"
    whole = start(way, root / f"whole-{name}", random)
    if start(way, root / f"parts-{name}", random, kill) is not None:
        return "not measured: it was not killed"
    parts = start(way, root / f"parts-{name}", random)
    return "not measured" if whole is None or parts is None else compare_tensors(whole["tensors"], parts["tensors"])


def measure_ranks(way: str, root: Path) -> str:
    """Return whether two ranks end with the same parameters."""
    if start(way, root / "ranks", ranks=2) is None:
        return "not measured"
    first, second = (torch.load(root / "ranks" / f"rank-{rank}.pt")["tensors"] for rank in (0, 1))
    own = [name for name in first if "running" not in name and "num_batches" not in name]
    return compare_tensors({name: first[name] for name in own}, {name: second[name] for name in own})


def check_rates(rates: dict[str, float], net: Net) -> str:
    """Return whether every parameter ends with the rate that was asked for it."""
    asked = {name: HEAD_RATE if "classifier" in name else BODY_RATE for name, _ in net.named_parameters()}
    wrong = {f"{rates[name]:g}" if name in rates else "none" for name in asked if rates.get(name) != asked[name]}
    return "yes" if not wrong else f"no: {', '.join(sorted(wrong))}"


def measure(way: str, root: Path) -> dict[str, str]:
    """Return every cell of one way."""
    found = start(way, root / "alone")
    assert found is not None
    says = {True: "yes", False: "no"}
    cells = {
        "frozen BatchNorm: statistics do not move": says[not found["moved"]],
        "frozen BatchNorm: normalises by them in training": says[found["batch_norm"]],
        "frozen dropout drops nothing": says[found["dropout"]],
        "optimizer holds only what trains": says[found["only"]],
        "rates as asked after unfreezing": check_rates(found["rates"], Net(0.0, -1)),
        "2 ranks (DDP): equal weights after unfreezing": measure_ranks(way, root),
    }
    for random in (False, True):
        what = "with shuffling and dropout" if random else "nothing random"
        for when, kill in KILLS.items():
            cells[f"killed {when}, resumed: same bits, {what}"] = measure_resume(way, root, random, kill)
    return cells


def row(*cells: str) -> str:
    """Return a row of the table."""
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure every way that is installed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs=2, metavar=("WAY", "FOLDER"), help="train one way (what the script starts)")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    if options.work:
        work(options.work[0], Path(options.work[1]), True, -1, options.ranks)
        return
    ways = [way for way in options.only if way != "finetuning-scheduler" or find_spec("finetuning_scheduler")]
    with tempfile.TemporaryDirectory() as folder:
        tables = {way: measure(way, Path(folder) / way) for way in ways}
    packages = [pl.__name__.partition(".")[0].replace("_", "-"), "torch", *{"finetuning-scheduler"}.intersection(ways)]
    print(", ".join(f"{name} {version(name)}" for name in packages))
    print(row("", *ways), row(*["---"] * (len(ways) + 1)), sep="\n")
    for name in tables[ways[0]]:
        print(row(name, *(tables[way][name] for way in ways)))


if __name__ == "__main__":
    main()
