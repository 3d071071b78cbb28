"""The story of one run: data, backbone, head and plan; then each phase; then the test, once."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.taps import make_body
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.features.activations import CachedSplit, StoredSplit, TappedSplit
from frostline.features.policy import CachePolicy, Need
from frostline.files.csv_tables import write_csv
from frostline.freeze.plan import HEAD
from frostline.ranks.devices import read_memory
from frostline.results.record import Record
from frostline.runs.build import Builder
from frostline.runs.costs import forget_peak_memory
from frostline.runs.outcome import draft_record, finish_record
from frostline.runs.setup import Experiment, make_cache, set_up
from frostline.runs.sizes import check_disk, check_memory, measure_disk
from frostline.solving.rows import Rows, join_columns, make_rows, stack_rows
from frostline.training.leave_out import Samples
from frostline.training.phases import fit_phase, solve_phase

log = logging.getLogger(__name__)


def run_experiment(
    config: Run, identifier: str, folder: Path, given: Mapping[str, Any] = MappingProxyType({})
) -> Record:
    """Train and test what a resolved config describes; go on where an earlier sitting stopped.

    Here references to environment variables become their values; loggers and the record are given the references.
    ``given`` are objects in place of what the config names, as `Builder` takes them.

    Returns the record of a run that is done. Raises UserError for a user's mistake, Diverged when the loss is no
    number any more; whatever was finished by then is in the run's checkpoints. A trial (``test: false``) ends with
    its validation scores: nothing of its test split is decoded, computed or looked at.
    """
    started = time.monotonic()
    forget_peak_memory()
    run = set_up(Run.read(resolve_env(config.plain())), folder, Builder(given), started)
    draft = draft_record(run, identifier, config) if run.ranks.leads else None
    optimizer = run.journal.resume()
    run.show_plan()
    with run.loggers.following_run(config, run.journal.progress.history):
        run.costs.leave_out(run.loggers.seconds)
        train(run, optimizer)
        outputs = test(run) if config.test else None
        run.costs.gather_peaks()
        if draft is None:
            return Record(id=identifier, status="done", config=config.plain())
        record = finish_record(run, draft, outputs)
        run.loggers.end(record.numbers(), run.journal.progress.history[-1]["epoch"])
    return record


def train(run: Experiment, optimizer: dict[str, Any] | None) -> None:
    """Train every phase, or what is left of the plan; ``optimizer`` is the state that its first one goes on from."""
    plan = run.made.plan
    for index in range(len(plan.phases)):
        if run.journal.progress.epoch < min(plan.start(index) + plan.phases[index].epochs, run.journal.end):
            train_phase(run, index, optimizer)
            optimizer = None


def train_phase(run: Experiment, index: int, optimizer: dict[str, Any] | None) -> None:
    """Train one phase on the activations of its frozen prefix, or on the data itself."""
    made, phase, before = run.made, run.made.plan.phases[index], time.monotonic()
    untouched = bool(run.policy.list_kept(index))  # it serves the test as well
    sources = prepare(run, index, run.splits if untouched else ("train", "val"))
    enter(run, index, optimizer)
    if made.is_solved(index):
        inputs, names = collect_solver_inputs(run, index, sources), [tap.label for tap in made.taps]
        penalty = solve_phase(run.module, inputs, index, run.journal, names)
        log.info("Phase %s was solved; the best penalty is %.3g.", phase.name, penalty)
        if index in run.journal.progress.choices:
            log.info("%s", run.journal.progress.choices[index])
    else:
        fit_scaling(run, index, sources)
        run.ranks.wait()  # for what the first rank did alone: the collectives of training are not as patient
        fit_phase(run.trainer, run.module, made.data, index, run.journal)
    log.info("Phase %s ended after %.1f s.", phase.name, time.monotonic() - before)


def fit_scaling(run: Experiment, index: int, sources: dict[str, StoredSplit]) -> None:
    """Let a head over taps measure those of the training samples, before it trains for the first time."""
    scaling = run.made.scaling
    if scaling is None or scaling.fitted or HEAD not in run.made.plan.phases[index].train:
        return
    view = run.policy.list_views(index)[0]
    features = collect_features(run, "train", index, sources, [view])
    if run.ranks.leads:
        scaling.fit(join_features(features, view).chunks())
    run.ranks.copy(*scaling.buffers())


def enter(run: Experiment, index: int, optimizer: dict[str, Any] | None = None) -> None:
    """Set the module up for a phase: what trains, and what of the backbone is run in each step."""
    made = run.made
    body = make_body(made.backbone, made.taps, run.policy.cut(index), run.policy.list_taps(index))
    run.module.enter(made.plan.phases[index], made.plan.start(index), body, optimizer)


def prepare(run: Experiment, index: int, splits: tuple[str, ...]) -> dict[str, StoredSplit]:
    """Let the loaders serve activations at the phase's cut, or the data itself where there is none."""
    stored = run.policy.list_stored(index)
    sources: dict[str, StoredSplit] = {}
    run.cache.begin()
    if stored:
        views = {split: run.policy.list_views(index) if split == "train" else [0] for split in splits}
        try:
            needs = [Need(split, one, view) for split in splits for view in views[split] for one in stored]
            check_disk(*run.ranks.take_first(measure_disk((run.cache, need) for need in needs)))
            for split in splits:
                found = run.cache.collect_all(split, stored, views[split], run.policy.list_later(index))
                sources[split] = pair_up(found, run.policy, index)
        except OSError as error:  # on all ranks
            reason = error.strerror or str(error)
            log.warning("The cache cannot be written (%s); phase %d goes on uncached.", reason, index)
            run.policy.give_up(index, reason)
            check_memory(run.made, run.policy, index, run.ranks.take_first(read_memory()))
            sources = {}
    if not run.made.is_solved(index):  # on the host
        run.cache.move_to_device(sources.values())
    run.made.data.use(sources)
    run.costs.serve({name: source.seconds_per_sample for name, source in sources.items()})
    return sources


def pair_up(found: Mapping[str, CachedSplit], policy: CachePolicy, index: int) -> StoredSplit:
    """Return what is stored of a split for a phase as one data source."""
    cut, taps = policy.cut(index), policy.list_taps(index)
    if cut is not None and not taps:
        return found[cut.name]
    return TappedSplit(None if cut is None else found[cut.name], {tap.cut: found[tap.name] for tap in taps})


def collect_solver_inputs(run: Experiment, index: int, sources: dict[str, StoredSplit]) -> dict[str, Samples]:
    """Return on rank 0 what the head reads and labels of train, view after view, and val.

    All ranks compute their parts; on any other than rank 0 nothing is returned.
    """
    found = {}
    for split in ("train", "val"):
        views = run.policy.list_views(index) if split == "train" else [0]
        features, labels = collect_features(run, split, index, sources, views), run.made.data.splits[split].labels
        if run.ranks.leads:
            whole = stack_rows([join_features(features, view) for view in views])
            found[split] = Samples(whole, torch.cat([labels] * len(views)), len(views))
    return found


def collect_features(
    run: Experiment, split: str, index: int, sources: dict[str, StoredSplit], views: Sequence[int]
) -> StoredSplit:
    """Return what the head reads in these views, from ``sources`` or computed here and kept in memory."""
    if run.policy.reads_stored(index):
        return sources[split]
    memory = make_cache(run.config, run.made, run.trainer, run.ranks, stored=False)
    found = memory.collect_all(split, run.policy.read, views)
    if not run.made.taps:
        return found[run.policy.read[0].name]
    return TappedSplit(None, {tap.cut: found[tap.name] for tap in run.made.taps})


def join_features(features: StoredSplit, view: int) -> Rows:
    """Return what the head reads in a view [N, D], mapped from disk where it is stored and memory is short."""
    taps = list(features.taps.values()) if isinstance(features, TappedSplit) else [features]
    return join_columns([make_rows(tap.views[view].parts) for tap in taps])


def test(run: Experiment) -> dict[str, Tensor]:
    """Restore the best epoch, test it once, and write the predictions; return its outputs and labels."""
    made, best = run.made, run.find_best_epoch()
    index, _ = made.plan.at(best)
    run.ranks.wait()  # for the first rank to have written it
    run.load_best()
    prepare(run, index, ("test",))
    enter(run, index)
    run.trainer.test(run.module, datamodule=made.data, verbose=False)
    outputs = run.module.collect_outputs()
    if run.ranks.leads:
        names = made.data.splits["test"].names
        rows = made.task.predictions(names, made.data.classes, outputs["label"], outputs["outputs"])
        write_csv(run.folder / "predictions.csv", rows)
    return outputs
