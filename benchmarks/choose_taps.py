"""Compare rules that choose depths and penalty of a linear head on training and validation samples alone.

    python benchmarks/choose_taps.py FOLDER [--sets fashion digits] [--sizes 50 100 300 0] [--draws 5] [--rules ...]

FOLDER has for each set a file SET.npz: arrays train_00, train_01, ... (the taps in depth order, the features last),
train_y, and the same of val and test. `--extract` with ../shared/data's folder makes them. A size is that of the
training samples that are drawn, 0 stands for all of them (at most ``--most``); validation has three tenths as many.
Test samples are looked at only to compare the rules at the end. Prints a row for each set, size and draw as JSON, and
at the end a table of means.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from frostline.heads import Scaling
from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question
from frostline.solving.validate import count_folds, cross_validate

PENALTIES = tuple(10.0 ** (-power / 2) for power in range(-2, 8))
PARTS = {  # derived sets: of which, and the classes kept
    "fashion_tops": ("fashion", None),
    "mnist_parity": ("mnist5k", "parity"),
    "debian_a": ("debian_sections", (0, 1, 2, 3, 4)),
    "debian_b": ("debian_sections", (5, 6, 7, 8, 9)),
}


def draw_folds(labels, folds, seed):
    """Return the fold of each sample, each class dealt out evenly in random order."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]
    found = torch.empty(len(labels), dtype=torch.long)
    found[order] = torch.arange(len(labels)) % folds
    return found


class Trial:
    """One draw of a set: what is known of members (unions of taps), solved when they are first asked for."""

    def __init__(self, data, folds, seed):
        self.y = {split: data[split][1] for split in data}
        self.classes = int(max(y.max() for y in self.y.values())) + 1
        taps = data["train"][0]
        self.count = len(taps)
        self.scaling = Scaling([tap.shape[1] for tap in taps])
        self.scaling.fit(torch.cat(taps, 1))
        self.x = {s: list(self.scaling(torch.cat(data[s][0], 1)).split(self.scaling.widths, 1)) for s in data}
        self.folds = draw_folds(self.y["train"], folds, seed)
        self.question = Question("multinomial", self.y["train"], self.classes, count_folds(self.folds))
        self.known, self.seconds = {}, 0.0

    def member(self, taps):
        """Return held-out losses [P, n] of train and val, and logits of train, val, test [P, n, C]."""
        taps = tuple(sorted(taps))
        if taps not in self.known:
            start = time.process_time()
            x = {split: torch.cat([parts[t] for t in taps], 1) for split, parts in self.x.items()}
            found = cross_validate(decompose_features(x["train"]), self.question, PENALTIES)
            logits = {"train": found.outputs}
            for split in ("val", "test"):
                logits[split] = torch.einsum("nd,pcd->pnc", x[split], found.weights) + found.biases[:, None]
            norms = torch.stack(
                [part.square().sum((1, 2)) for part in found.weights.split([self.scaling.widths[t] for t in taps], 2)],
                1,
            )
            self.known[taps] = logits, norms, time.process_time() - start
        return self.known[taps]

    def losses(self, logits, split):
        y = self.y[split]
        return functional.cross_entropy(
            logits.flatten(0, -2), y.repeat(logits[..., 0].numel() // len(y)), reduction="none"
        ).view(logits.shape[:-1])


def held(trial, logits, criterion):
    """Return the loss [..., n] of each sample held out."""
    parts = [
        trial.losses(logits[s], s)
        for s in (("train", "val") if criterion == "pooled" else ({"cv": "train", "val": "val"}[criterion],))
    ]
    return torch.cat(parts, -1)


def best_of(trial, members, criterion):
    """Return (mean loss, member, penalty index, losses [n]) of each member at its best penalty."""
    found = []
    for member in members:
        each = held(trial, trial.member(member)[0], criterion)
        place = int(each.mean(1).argmin())
        found.append((float(each[place].mean()), tuple(member), place, each[place]))
    return found


def answer(trial, weights):
    """Return test accuracy, loss, and description of a weighted mean of models {(member, penalty): weight}."""
    logits = sum(w * trial.member(m)[0]["test"][p] for (m, p), w in weights.items()) / sum(weights.values())
    return float((logits.argmax(1) == trial.y["test"]).float().mean()), logits


def suffixes(count):
    """The last tap, and ends of the network of growing length."""
    lengths = sorted({1, 2, *(max(1, round(count * share)) for share in (0.25, 0.5, 0.75, 1.0))})
    return [tuple(range(count - length, count)) for length in lengths]


def first(found):
    return found[0]


def one_se(one, other):
    difference = one - other
    return float(difference.std() / len(difference) ** 0.5)


def rules(trial, criterion):
    last = (trial.count - 1,)
    unions, singles = suffixes(trial.count), [(t,) for t in range(trial.count)]
    late, everything = tuple(range(trial.count // 2, trial.count)), tuple(range(trial.count))
    out = {}

    def keep(name, weights):
        out[name] = answer(trial, weights)[0], sorted({t for m, _ in weights for t in m})

    def one(name, found):
        keep(name, {(found[1], found[2]): 1.0})

    base = best_of(trial, [last], criterion)[0]
    one("last", base)
    one("late", best_of(trial, [late], criterion)[0])
    one("all", best_of(trial, [everything], criterion)[0])
    one("single", min(best_of(trial, singles, criterion), key=first))
    found = best_of(trial, unions, criterion)
    top = min(found, key=first)
    one("union", top)
    one("union_1se", top if base[0] - top[0] > one_se(base[3], top[3]) else base)
    near = [f for f in found if f[0] - top[0] <= one_se(f[3], top[3])]
    keep("avg_1se", {(f[1], f[2]): 1.0 for f in near})
    keep("avg_unions", {(f[1], f[2]): 1.0 for f in found})
    n = len(top[3])
    keep(
        "avg_pseudo",
        {
            (f[1], f[2]): float(
                np.exp(-max(0.0, f[0] - top[0]) / max(1e-9, one_se(f[3], top[3]) if f is not top else 1))
            )
            for f in found
        },
    )
    # selection of models with replacement (Caruana 2004), logits averaged
    for name, members in {"sel_unions": unions, "sel_singles": singles, "sel_both": [*unions, *singles]}.items():
        members = list(dict.fromkeys(tuple(m) for m in members))
        pool = {}
        for f in best_of(trial, members, criterion):
            for p in {f[2], max(0, f[2] - 1), min(len(PENALTIES) - 1, f[2] + 1)}:
                pool[f[1], p] = {s: trial.member(f[1])[0][s][p] for s in ("train", "val")}
        for most, step in ((20, "20"),):
            keep(f"{name}", select(trial, pool, criterion, most))
        keep(f"{name}_w", stack(trial, pool, criterion))
    # head2toe over taps
    logits, norms, _ = trial.member(everything)
    at = best_of(trial, [everything], criterion)[0][2]
    order = norms[at].argsort(descending=True).tolist()
    nested = [
        tuple(sorted(order[:k])) for k in sorted({1, 2, 3, 4, 6, 9, 13, trial.count} & set(range(trial.count + 1)))
    ]
    one("h2t", min(best_of(trial, nested, criterion), key=first))
    found = best_of(trial, [*nested, *unions], criterion)
    one("h2t+unions", min(found, key=first))
    keep(
        "avg_h2t+unions",
        {(f[1], f[2]): 1.0 for f in found if f[0] - min(found, key=first)[0] <= one_se(f[3], min(found, key=first)[3])},
    )
    return out


def greedy(trial, criterion, stop_1se):
    last = (trial.count - 1,)
    now = best_of(trial, [last], criterion)[0]
    while len(now[1]) < min(6, trial.count):
        new = min(
            best_of(trial, [tuple(sorted({*now[1], t})) for t in range(trial.count) if t not in now[1]], criterion),
            key=first,
        )
        if now[0] - new[0] <= (one_se(now[3], new[3]) if stop_1se else 0):
            break
        now = new
    return now


def select(trial, pool, criterion, rounds):
    """Return how often each model is chosen by greedy selection with replacement on held-out logits."""
    y = torch.cat([trial.y[s] for s in (("train", "val") if criterion == "pooled" else ("train",))])
    splits = ("train", "val") if criterion == "pooled" else ("train",)
    keys = list(pool)
    z = torch.stack([torch.cat([pool[k][s] for s in splits]) for k in keys])
    total, counts, best = torch.zeros_like(z[0]), {}, 9e9
    kept = {}
    for r in range(1, rounds + 1):
        losses = functional.cross_entropy(
            ((total + z) / r).transpose(1, 2), y.expand(len(keys), -1), reduction="none"
        ).mean(1)
        place = int(losses.argmin())
        total = total + z[place]
        counts[keys[place]] = counts.get(keys[place], 0) + 1
        if float(losses[place]) < best - 1e-4:
            best, kept = float(losses[place]), dict(counts)
    return {k: float(v) for k, v in kept.items()}


def stack(trial, pool, criterion, strength=0.0):
    """Return convex weights that minimise the held-out loss of averaged logits, by exponentiated gradient."""
    splits = ("train", "val") if criterion == "pooled" else ("train",)
    y = torch.cat([trial.y[s] for s in splits])
    keys = list(pool)
    z = torch.stack([torch.cat([pool[k][s] for s in splits]) for k in keys])
    w = torch.full((len(keys),), 1 / len(keys))
    for _ in range(100):
        q = torch.einsum("m,mnc->nc", w, z)
        residual = (q.softmax(1) - functional.one_hot(y, q.shape[1])) / len(y)
        g = torch.einsum("nc,mnc->m", residual, z)
        w = w * torch.exp(-1.0 * (g - g.min()) / (g.max() - g.min() + 1e-9))
        w = w / w.sum()
    return {k: float(v) for k, v in zip(keys, w) if v > 0.01}


def load(folder, name, most):
    source, kept = PARTS.get(name, (name, None))
    with np.load(folder / f"{source}.npz") as file:
        taps = sorted(k[6:] for k in file.files if k.startswith("train_") and k != "train_y")
        found = {
            s: ([torch.from_numpy(file[f"{s}_{t}"]) for t in taps], torch.from_numpy(file[f"{s}_y"]))
            for s in ("train", "val", "test")
        }
    if name == "fashion_tops":
        kept = (1, 2, 5, 6, 7, 8)
    if kept == "parity":
        return {s: (t, y % 2) for s, (t, y) in found.items()}
    if kept is not None:
        out = {}
        for s, (t, y) in found.items():
            chosen = torch.isin(y, torch.tensor(kept))
            out[s] = [tap[chosen] for tap in t], torch.searchsorted(torch.tensor(kept), y[chosen])
        return out
    return found


def draw(data, size, seed, most):
    """Return a sample of train and val by class, test cut to 1,000."""
    out = {}
    for split, (taps, y) in data.items():
        wanted = {"train": size or most, "val": int(0.3 * (size or most)), "test": 1000}[split]
        wanted = min(wanted, len(y))
        generator = torch.Generator().manual_seed(1000 * seed + (7 if split == "val" else 3) if split != "test" else 0)
        shuffled = torch.randperm(len(y), generator=generator)
        place = torch.empty(len(y))
        for label in y.unique():
            own = shuffled[y[shuffled] == label]
            place[own] = (torch.arange(len(own)) + 0.5) / len(own)
        order = place.argsort(stable=True)[:wanted]
        out[split] = [tap[order] for tap in taps], y[order]
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 100, 300])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--criteria", nargs="+", default=["pooled", "cv"])
    parser.add_argument("--greedy", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.sets:
        data = load(arguments.folder, name, arguments.most)
        for size in arguments.sizes:
            if size >= len(data["train"][1]):
                continue
            for seed in range(arguments.draws if size else 1):
                start = time.process_time()
                trial = Trial(draw(data, size, seed, arguments.most), arguments.folds, seed)
                row = {}
                for criterion in arguments.criteria:
                    for rule, found in rules(trial, criterion).items():
                        row[f"{rule}/{criterion}"] = found
                    if size and size <= arguments.greedy:
                        for stop in (False, True):
                            now = greedy(trial, criterion, stop)
                            row[f"greedy{'_1se' * stop}/{criterion}"] = (
                                answer(trial, {(now[1], now[2]): 1.0})[0],
                                list(now[1]),
                            )
                members = {str(k): v[2] for k, v in trial.known.items()}
                print(
                    json.dumps(
                        {
                            "set": name,
                            "size": size,
                            "draw": seed,
                            "seconds": time.process_time() - start,
                            "cost": {
                                "n": len(members),
                                "total": sum(members.values()),
                                "last": members[str((trial.count - 1,))],
                            },
                            "rules": row,
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
