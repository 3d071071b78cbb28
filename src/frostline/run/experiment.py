"""The story of one run: data, backbone, head and plan; then each phase; then the test, once."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.cuts import suffix
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.features.policy import Choice
from frostline.features.prefix import Features
from frostline.files.sheet import write_sheet
from frostline.ranks.collectives import ALONE
from frostline.results.record import Cost, Record, git_state, versions
from frostline.run.assemble import assemble
from frostline.run.costs import forget_peak_memory
from frostline.run.insight import Meter, mistakes, moved, similarity
from frostline.run.network import NOTHING
from frostline.run.parts import Parts
from frostline.training.phases import fit_phase, resume, solve_phase

log = logging.getLogger(__name__)
MOST_CLASSES = 2000
"""Whose confusion matrix is recorded: that of more would make a record that its readers refuse for its size."""


def run_experiment(config: Run, identifier: str, folder: Path, given: Mapping[str, Any] = NOTHING) -> Record:
    """Train and test what a resolved config describes; go on where an earlier sitting stopped.

    Here references to environment variables become their values; loggers and the record are given the references.

    Returns the record of a run that is done. Raises UserError for a user's mistake, Diverged when the loss is no
    number any more; whatever was finished by then is in the run's checkpoints. A trial (``test: false``) ends with
    its validation scores: nothing of its test split is decoded, computed or looked at.
    """
    started = time.monotonic()
    forget_peak_memory()
    parts = assemble(Run.read(resolve_env(config.plain())), folder, given)
    optimizer = resume(parts.journal, parts.plan)
    parts.show_plan()
    with parts.loggers.following(config, parts.progress.history):
        parts.ledger.mark = started + parts.loggers.seconds
        train(parts, optimizer)
        outputs = test(parts) if config.test else None
        parts.ledger.gather_peaks()
        parts.cache.group = ALONE  # from here on each rank is by itself, and the first one makes the record
        if not parts.group.leads:
            return Record(id=identifier, status="done", config=config.plain())
        found = replace(record(parts, identifier), config=config.plain())
        if outputs is not None:
            examine(parts, found, outputs["outputs"], outputs["label"])
        parts.loggers.end(found.numbers(), found.epochs - 1)
    return found


def train(parts: Parts, optimizer: dict[str, Any] | None) -> None:
    """Train every phase, or what is left of the plan; ``optimizer`` is the state that its first one goes on from."""
    for index in range(len(parts.plan.phases)):
        if parts.progress.epoch < parts.plan.start(index) + parts.plan.phases[index].epochs:
            train_phase(parts, index, optimizer)
            optimizer = None


def train_phase(parts: Parts, index: int, optimizer: dict[str, Any] | None) -> None:
    """Train one phase on the activations of its frozen prefix, or on the data itself."""
    phase, start = parts.plan.phases[index], parts.plan.start(index)
    before = time.monotonic()
    sources = prepare(parts, index, parts.data.used if parts.untouched(index) else ("train", "val"))
    parts.module.enter(phase, start, body(parts, index), optimizer)
    if parts.solves(index):
        penalty = solve_phase(parts.journal, parts.module, parts.plan, index, fixed(parts, index, sources))
        log.info("Phase %s was solved; the best penalty is %.3g.", phase.name, penalty)
    else:
        parts.group.wait()  # for what the first rank did alone: the collectives of training are not as patient
        fit_phase(parts.trainer, parts.module, parts.data, parts.plan, index, parts.journal)
    log.info("Phase %s ended after %.1f s.", phase.name, time.monotonic() - before)


def prepare(parts: Parts, index: int, splits: tuple[str, ...]) -> dict[str, Features]:
    """Let the loaders serve activations at the phase's cut, or the data itself where there is none."""
    cut = parts.choices[index].cut
    sources: dict[str, Features] = {}
    parts.cache.begin()
    if cut is not None:
        try:
            for split in splits:
                views = parts.views(index) if split == "train" else [0]
                sources[split] = parts.cache.collect(split, cut, views, parts.ahead(index))
        except OSError as error:  # on all ranks
            log.warning("The cache cannot be written (%s); phase %d goes on uncached.", error, index)
            parts.choices[index] = Choice(None, f"not cached: {error.strerror or error}")
            sources = {}
    if not parts.solves(index):  # on the host
        parts.cache.move_to_device(sources)
    parts.serve(index, sources)
    return sources


def body(parts: Parts, index: int) -> torch.nn.Module:
    """Return what of the backbone is run in each step of a phase."""
    cut = parts.choices[index].cut
    return parts.backbone if cut is None else suffix(parts.backbone, cut.name)


def fixed(parts: Parts, index: int, sources: dict[str, Features]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return on rank 0 the backbone's features [N, D] and labels [N, ...] of train, view after view, and val.

    All ranks compute their parts; on any other than rank 0 nothing is returned.
    """
    found = {}
    for split in ("train", "val"):
        views, labels = list(parts.features(split, index, sources).views.values()), parts.data.splits[split].labels
        if parts.group.leads:
            whole = views[0].whole() if len(views) == 1 else torch.cat([rows.whole() for rows in views])
            found[split] = whole.float(), torch.cat([labels] * len(views))  # the cache has those of bf16-mixed in half
    return found


def test(parts: Parts) -> dict[str, Tensor]:
    """Restore the best epoch, test it once, and write the predictions; return its outputs and labels."""
    best = parts.best_epoch()
    index, _ = parts.plan.at(best)
    parts.group.wait()  # for the first rank to have written it
    parts.load_best()
    prepare(parts, index, ("test",))
    parts.module.enter(parts.plan.phases[index], parts.plan.start(index), body(parts, index))
    parts.trainer.test(parts.module, datamodule=parts.data, verbose=False)
    outputs = parts.module.collected()
    if not parts.group.leads:
        return outputs
    names = parts.data.splits["test"].names
    rows = parts.task.predictions(names, parts.data.classes, outputs["label"], outputs["outputs"])
    write_sheet(parts.folder / "predictions.csv", rows)
    return outputs


def examine(parts: Parts, found: Record, outputs: Tensor, labels: Tensor) -> None:
    """Add to a record how the test went and what training did to the network that was tested; no cost is charged."""
    found.metrics["test"] = parts.task.scores(outputs, labels)
    table = parts.task.confusion(outputs, labels)
    if len(table) <= MOST_CLASSES:
        found.confusion = table
    else:
        found.notes.append(f"The confusion matrix of {len(table):,} classes is left out; predictions.csv has it all.")
    found.mistakes = mistakes(parts, outputs, labels)
    found.moved = moved(parts)
    found.similarity = similarity(parts)


def costs(parts: Parts) -> Cost:
    """Return what the run has cost; its FLOPs are counted afterwards, on nobody's time."""
    cost, work = parts.ledger.cost(), Meter(parts).total()
    return replace(
        cost,
        forward_flops=work.forward,
        backward_flops=work.backward,
        flops_saved=work.saved,
        checkpoint_bytes=parts.checkpoints.best_bytes(),
    )


def record(parts: Parts, identifier: str) -> Record:
    """Return the record of a run that has ended, with its scores on training and validation."""
    best = parts.best_epoch()
    row = next(row for row in parts.progress.history if row["epoch"] == best)
    return Record(
        id=identifier,
        status="done",
        config=parts.config.plain(),
        versions=versions(),
        machine=parts.ledger.describe_machines(),
        git=git_state(Path(__file__).parent),
        task=parts.describe_task(),
        data=parts.describe_data(),
        backbone={"name": parts.backbone.name, "fingerprint": parts.fingerprint},
        plan=parts.plan.to_dict(),
        cached=[choice.reason for choice in parts.choices],
        parameters=parts.count_parameters(),
        metrics={name: _scores(row, name) for name in ("train", "val")},
        epochs=parts.progress.epoch,
        best_epoch=best,
        cost=costs(parts),
        notes=[*parts.data.notes, *parts.backbone.notes, *parts.plan.notes],
    )


def _scores(row: Mapping[str, Any], split: str) -> dict[str, float]:
    return {name.removeprefix(f"{split}/"): value for name, value in row.items() if name.startswith(f"{split}/")}
