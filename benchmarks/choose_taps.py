"""Compare rules that choose depths and penalty of a solved head, on training and validation samples alone.

    python benchmarks/choose_taps.py FOLDER --extract DATA        (DATA: images/fashion, text/..., speech/...)
    python benchmarks/choose_taps.py FOLDER [--sets digits vowels] [--sizes 50 100 250 0] [--draws 4]
                                     [--rules last all auto] [--storage float16]

The first writes the taps of six sets to FOLDER/SET.npz: train_00, train_01, ... in depth order, the features last, and
train_y, and the same of val and test. The second draws so many training samples by class (0: at most 1,000), and three
tenths as many of validation; at most 1,000 test samples are looked at only to compare what the rules have chosen. It
prints a line of JSON for each set, size and draw, and at the end for each rule the mean accuracy over sets and sizes,
what it lost against the last layer in the worst of them, and the processor's seconds; ``--storage`` rounds taps as
though they were stored so. The rules:

``last`` layer; ``single`` best tap; ``late`` half; ``all``; ``ends``: the best end of the network; ``ends_1se``: that,
unless the last layer is within a standard error; ``mean_1se``: the mean of all ends within one of the best;
``head2toe``: the taps of largest weights; ``greedy``: forward over taps, stopped within a standard error (of at most
100 samples: it solves hundreds of unions); ``selected``: greedy selection of unions with replacement, outputs averaged;
``auto``: head.taps=auto, their shares in one head.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frostline.config.compose import compose, resolve
from frostline.features.prefix import PrefixCache
from frostline.heads import Taps
from frostline.runs.build import Builder
from frostline.solving.rows import make_rows
from frostline.tasks.multiclass import Multiclass
from frostline.training import choose
from frostline.training.choose import Choice, Judge, Judged
from frostline.training.leave_out import Samples, draw_folds, scale_samples, spread_by_class
from small_sets import SETS

PARTS = {  # sets made of others, by some of their classes
    "fashion_tops": ("fashion", (1, 2, 5, 6, 7, 8)),
    "debian_a": ("debian_sections", (0, 1, 2, 3, 4)),
    "debian_b": ("debian_sections", (5, 6, 7, 8, 9)),
}
PARITY = "mnist_parity"
"""Even or odd, of mnist5k."""
CHOSEN_ON = ("vowels", "debian_a", "fashion", "fashion_tops")
"""The sets by which the rule of head.taps=auto was chosen; the others show it."""
TASK = Multiclass(label_smoothing=0.0, class_weights=None)
MOST = 1000
Data = Mapping[str, Samples]
Model = tuple[Tensor, float]
"""A head to be solved: the share of each tap, and the penalty."""


def extract(folder: Path, data: str) -> None:
    """Write the pooled taps of each set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, overrides in SETS.items():
        given = [one.format(data=data) for one in overrides]
        made = Builder().build(
            resolve(compose("run", [*given, "augment=none", "freeze=linear_probe", "head=taps", "head.taps=all"]))
        )
        cache, found = PrefixCache(None, made.backbone, made.data), {}
        for split in ("train", "val", "test"):
            stored = cache.collect_all(split, made.taps, [0])
            for place, tap in enumerate(made.taps):
                found[f"{split}_{place:02d}"] = stored[tap.name].views[0].load_rows().numpy()
            found[f"{split}_y"] = made.data.splits[split].labels.numpy()
        np.savez(folder / f"{name}.npz", **found)
        print(f"{name}: {len(made.taps)} taps, {cache.seconds:.1f} s", flush=True)


def read_set(folder: Path, name: str, storage: torch.dtype) -> tuple[Data, list[int]]:
    """Return the samples of each split, their taps rounded to ``storage``, and the widths of the taps."""
    source, classes = PARTS.get(name, ("mnist5k" if name == PARITY else name, None))
    found, widths = {}, []
    with np.load(folder / f"{source}.npz") as file:
        names = sorted(key[6:] for key in file.files if key.startswith("train_") and key != "train_y")
        for split in ("train", "val", "test"):
            parts = [torch.from_numpy(file[f"{split}_{one}"]).to(storage).float() for one in names]
            widths = [part.shape[1] for part in parts]
            features, labels = torch.cat(parts, dim=1), torch.from_numpy(file[f"{split}_y"])
            if classes is not None:
                kept, places = torch.isin(labels, torch.tensor(classes)), torch.tensor(classes)
                features, labels = features[kept], torch.searchsorted(places, labels[kept])
            found[split] = Samples(make_rows(features), labels % 2 if name == PARITY else labels)
    return found, widths


class Trial:
    """One draw of a set, with the unions that were judged so far."""

    def __init__(self, data: Data, widths: Sequence[int], size: int, draw: int):
        wanted = {"train": size or MOST, "val": (size or MOST) * 3 // 10, "test": MOST}
        few = {
            split: samples.select(spread_by_class(TASK, samples.labels, 0 if split == "test" else draw)[:most])
            for (split, samples), most in zip(data.items(), wanted.values(), strict=True)
        }
        self.data, self.widths, self.draw = few, list(widths), draw
        self.classes = max(int(samples.labels.max()) for samples in data.values()) + 1
        self.known: dict[tuple[int, ...], Judged] = {}

    def make_head(self) -> Taps:
        head = Taps(sum(self.widths), self.classes, self.widths, frames=False, taps="auto", solver="lbfgs", dropout=0.0)
        assert head.scaling is not None
        head.scaling.fit(self.data["train"].features.chunks())
        return head

    @cached_property
    def judge(self) -> Judge:
        scaling = self.make_head().scaling
        assert scaling is not None
        train, val = (scale_samples(self.data[split], scaling) for split in ("train", "val"))
        return Judge(TASK, self.widths, train, val, self.classes, draw_folds(TASK, train.labels, self.draw))

    def find(self, unions: Sequence[tuple[int, ...]]) -> list[Judged]:
        """Return these unions judged, those once judged from memory."""
        new = [union for union in unions if union not in self.known]
        self.known.update(zip(new, self.judge.judge(new), strict=True) if new else {})
        return [self.known[union] for union in unions]

    def score(self, models: Sequence[Model]) -> dict[str, float]:
        """Return test accuracy and loss of the mean of the outputs of some heads."""
        total = torch.zeros(len(self.data["test"].labels), self.classes)
        for shares, penalty in models:
            head = self.make_head()
            choose.solve_weighed(head, TASK, self.data["train"], self.data["val"], shares, [penalty])
            with torch.no_grad():
                total += head(self.data["test"].features.load())
        labels = self.data["test"].labels
        right = (total.argmax(dim=1) == labels).float().mean()
        return {"accuracy": float(right), "loss": float(TASK.deviance(total / len(models), labels))}

    def model(self, union: Judged) -> Model:
        return choose.share_taps([union], len(self.widths)), union.penalty


def best(found: Sequence[Judged]) -> Judged:
    return min(found, key=lambda one: one.loss)


def last(trial: Trial) -> list[Model]:
    return [trial.model(trial.find([(len(trial.widths) - 1,)])[0])]


def late(trial: Trial) -> list[Model]:
    taps = len(trial.widths)
    return [trial.model(trial.find([tuple(range(taps // 2, taps))])[0])]


def everything(trial: Trial) -> list[Model]:
    return [trial.model(trial.find([tuple(range(len(trial.widths)))])[0])]


def single(trial: Trial) -> list[Model]:
    return [trial.model(best(trial.find(choose.list_unions(len(trial.widths))[: len(trial.widths)])))]


def find_ends(trial: Trial) -> list[Judged]:
    taps = len(trial.widths)
    return trial.find([union for union in choose.list_unions(taps) if union[-1] == taps - 1])


def ends(trial: Trial) -> list[Model]:
    return [trial.model(best(find_ends(trial)))]


def ends_1se(trial: Trial) -> list[Model]:
    plain, top = trial.find([(len(trial.widths) - 1,)])[0], best(find_ends(trial))
    gain, error = trial.judge.compare(plain.losses, top.losses)
    return [trial.model(top if gain > error else plain)]


def mean_1se(trial: Trial) -> list[Model]:
    found = find_ends(trial)
    top = best(found)
    apart = [(one, *trial.judge.compare(one.losses, top.losses)) for one in found]
    return [trial.model(one) for one, loss, error in apart if loss <= error]


def find_strongest(trial: Trial) -> list[Judged]:
    (whole,) = trial.find([tuple(range(len(trial.widths)))])
    return trial.find(choose.list_strongest(whole, trial.widths))


def head2toe(trial: Trial) -> list[Model]:
    return [trial.model(best(find_strongest(trial)))]


def greedy(trial: Trial) -> list[Model]:
    now = trial.find([(len(trial.widths) - 1,)])[0]
    while len(now.taps) < len(trial.widths):
        rest = [tap for tap in range(len(trial.widths)) if tap not in now.taps]
        new = best(trial.find([tuple(sorted((*now.taps, tap))) for tap in rest]))
        gain, error = trial.judge.compare(now.losses, new.losses)
        if gain <= error:
            break
        now = new
    return [trial.model(now)]


def selected(trial: Trial) -> list[Model]:
    library = {one.taps: one for one in [*trial.find(choose.list_unions(len(trial.widths))), *find_strongest(trial)]}
    return [trial.model(one) for one in choose.select_unions(trial.judge, list(library.values()))]


def auto(trial: Trial) -> list[Model]:
    judge = trial.judge
    found: Choice = choose.choose_shares(TASK, judge.widths, judge.train, judge.validation, judge.outputs, trial.draw)
    return [(found.shares, found.penalty)]


RULES: dict[str, Callable[[Trial], list[Model]]] = {
    "last": last,
    "single": single,
    "late": late,
    "all": everything,
    "ends": ends,
    "ends_1se": ends_1se,
    "mean_1se": mean_1se,
    "head2toe": head2toe,
    "greedy": greedy,
    "selected": selected,
    "auto": auto,
}


def compare(
    data: Data, widths: Sequence[int], size: int, draw: int, rules: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return for each rule the test scores of its choice, and the processor's seconds to choose alone."""
    found = {}
    for name in rules:
        trial = Trial(data, widths, size, draw)
        if name == "greedy" and not 0 < size <= 100:
            continue
        started = time.process_time()
        models = RULES[name](trial)
        found[name] = {"seconds": round(time.process_time() - started, 2), **trial.score(models)}
    return found


def print_table(rows: Sequence[dict], title: str) -> None:
    cells: dict[str, dict[tuple, list]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for rule, one in row["rules"].items():
            gain = one["accuracy"] - row["rules"]["last"]["accuracy"]
            cells[rule][row["set"], row["size"]].append((one["accuracy"], gain, one["seconds"]))
    print(f"\n{title}\n| rule | sets and sizes | accuracy | worst against last | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for rule, found in cells.items():
        means = [np.mean(each, axis=0) for each in found.values()]
        accuracy, _, seconds = np.mean(means, axis=0)
        worst, where = min((mean[1], key) for key, mean in zip(found, means, strict=True))
        print(f"| {rule} | {len(found)} | {accuracy:.4f} | {worst:+.4f} {where} | {seconds:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extract", metavar="DATA")
    parser.add_argument("--sets", nargs="+", default=[*CHOSEN_ON, "digits", "mnist5k", PARITY, "debian_b", "languages"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 100, 250])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--storage", choices=("float32", "float16", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.extract:
        extract(arguments.folder, arguments.extract)
        return
    rows = []
    for name in arguments.sets:
        data, widths = read_set(arguments.folder, name, getattr(torch, arguments.storage))
        for size in arguments.sizes:
            for draw in range(arguments.draws if 0 < size < len(data["train"].labels) else 1):
                found = compare(data, widths, size, draw, arguments.rules)
                rows.append({"set": name, "size": size, "draw": draw, "rules": found})
                print(json.dumps(rows[-1]), flush=True)
    print_table([row for row in rows if row["set"] in CHOSEN_ON], "Chosen on:")
    print_table([row for row in rows if row["set"] not in CHOSEN_ON], "Shown on:")


if __name__ == "__main__":
    main()
