"""The record of a run: what is known when it begins, and what has become of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from frostline.config.schema import Run
from frostline.data.content import hash_data
from frostline.heads import Head
from frostline.results.record import Cost, Record, read_git_state, read_versions
from frostline.runs.build import Ingredients
from frostline.runs.drift import measure_output_similarities, measure_weight_distances
from frostline.runs.flops import WorkModel
from frostline.runs.mistakes import find_mistakes
from frostline.runs.setup import Experiment

MOST_CLASSES = 2000
"""Whose confusion matrix is recorded: that of more would make a record that its readers refuse for its size."""


def draft_record(run: Experiment, identifier: str, config: Run) -> Record:
    """Return what the record of a run says when it begins: the weights, above all, are not trained yet.

    ``config`` is the run's with references to environment variables in it. ``data.content`` is the SHA-256 of all files
    that the data set is made of, of which a run's ID is made as well.
    """
    made = run.made
    sizes = made.count_parameters()
    trainable = [sum(made.count_trained(index).values()) for index in range(len(made.plan.phases))]
    return Record(
        id=identifier,
        status="done",
        config=config.plain(),
        versions=read_versions(),
        git=read_git_state(Path(__file__).parent),
        task=made.task.describe(),
        data=describe_data(made, hash_data(run.config.data, Path(run.config.outputs))),
        backbone={"name": made.backbone.name, "fingerprint": made.backbone.fingerprint()},
        plan=made.plan.to_dict(),
        parameters={"total": sum(sizes.values()), "trainable": trainable},
    )


def describe_data(made: Ingredients, content: str | None) -> dict[str, Any]:
    """Return what a record says of the data."""
    return {
        "content": content,
        "fingerprint": made.data.fingerprint,
        "counts": made.samples,
        "classes": made.data.classes,
        "class_counts": made.data.class_counts,
        **made.data.known,
    }


def finish_record(run: Experiment, draft: Record, outputs: Mapping[str, Tensor] | None) -> Record:
    """Return the record of a run that has ended, with its scores; ``outputs`` are those of a test."""
    made, progress, best = run.made, run.journal.progress, run.find_best_epoch()
    row = next(row for row in progress.history if row["epoch"] == best)
    record = replace(
        draft,
        machine=run.costs.describe_machines(),
        cached=[choice.reason for choice in run.policy.choices],
        metrics={name: split_scores(row, name) for name in ("train", "val")},
        epochs=progress.epochs_done,
        best_epoch=best,
        cost=add_up_cost(run),
        notes=[*made.data.notes, *made.backbone.notes, *made.plan.notes, *progress.list_notes(), *describe_end(run)],
    )
    return record if outputs is None else examine(run, record, outputs["outputs"], outputs["label"])


def describe_end(run: Experiment) -> list[str]:
    """Return a sentence where the run was not to come to the end of its plan."""
    done, planned = run.journal.progress.epoch, run.made.plan.epochs
    return [f"Trained for {done} of {planned} epochs, as stop_after says."] if done < planned else []


def split_scores(row: Mapping[str, Any], split: str) -> dict[str, float]:
    """Return the scores of a split in a row of history, by their names alone."""
    return {name.removeprefix(f"{split}/"): value for name, value in row.items() if name.startswith(f"{split}/")}


def add_up_cost(run: Experiment) -> Cost:
    """Return what the run has cost, with its FLOPs, whose counting is not charged."""
    cost, progress = run.costs.add_up(), run.journal.progress
    tested = run.find_best_epoch() if run.config.test else None
    work = WorkModel(run.made, run.policy).count_done(progress.history, progress.passes, tested)
    return replace(
        cost,
        forward_flops=work.forward,
        backward_flops=work.backward,
        flops_saved=work.saved,
        checkpoint_bytes=run.journal.state.checkpoints.count_best_bytes(),
    )


def examine(run: Experiment, record: Record, outputs: Tensor, labels: Tensor) -> Record:
    """Return the record with the test's scores, and with how training changed the network; no cost is charged.

    Only the first rank is here: the others have ended.
    """
    made, weights = run.made, run.journal.state.weights
    table = made.task.confusion(outputs, labels)
    notes = made.head.describe(made.depths) if isinstance(made.head, Head) else []
    if len(table) > MOST_CLASSES:
        notes.append(f"The confusion matrix of {len(table):,} classes is left out; predictions.csv has it all.")
    return replace(
        record,
        metrics={**record.metrics, "test": made.task.scores(outputs, labels)},
        confusion=table if len(table) <= MOST_CLASSES else [],
        notes=[*record.notes, *notes],
        mistakes=find_mistakes(run.folder, made.task, made.data, outputs, labels),
        moved=measure_weight_distances(made.backbone, weights),
        similarity=measure_output_similarities(run.cache.without_ranks(), run.policy, weights),
    )
