"""What training has changed in a network: how far its weights have moved, and how alike its outputs have stayed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.cuts import Cut, make_prefix, pool_activation
from frostline.data.inputs import Inputs, map_values, split_batch
from frostline.data.order import draw_permutation
from frostline.features.policy import CachePolicy
from frostline.features.prefix import PrefixCache
from frostline.training.weights import Weights

SAMPLES = 256
"""Validation samples on which the similarity is taken; the same ones for every run on the same split."""
BATCH = 32


def measure_weight_distances(backbone: Backbone, weights: Weights) -> dict[str, float]:
    """Return how far each group's parameters lie from where the run began: |now - then| / |then|, in L2."""
    named = dict(backbone.named_parameters())
    result = {}
    for group, names in backbone.groups.items():
        now = [named[name].detach().cpu().double() for name in names]
        then = [weights.parameters.get(name, named[name].detach()).cpu().double() for name in names]
        distance = math.hypot(*(float((a - b).norm()) for a, b in zip(now, then, strict=True)))
        length = math.hypot(*(float(b.norm()) for b in then))
        result[group] = distance / length if length else math.nan
    return result


def measure_output_similarities(cache: PrefixCache, policy: CachePolicy, weights: Weights) -> dict[str, float]:
    """Return for each group the linear CKA of its output before training and after, on validation samples.

    A group's output is the last cut inside it: of a map the mean over its places, of a sequence the mean over its
    tokens. A group at whose output nothing has changed gets 1.0, uncomputed; one without a cut of its own, as in a
    network that cannot be traced, is left out.
    """
    changed = frozenset(weights.collect_changed())
    outputs = group_outputs(cache.backbone, policy.cuts)
    found = {group: cut for group, cut in outputs.items() if (cut.parameters | cut.buffers) & changed}
    result = dict.fromkeys(outputs, 1.0)
    if found:
        cuts, start = list(found.values()), find_deepest_unchanged(policy, changed)
        samples = draw_samples(cache, start)
        after = group_features(cache, start, cuts, samples)
        with weights.as_begun():
            before = group_features(cache, start, cuts, samples)
        result |= {group: cka(*both) for group, *both in zip(found, before, after, strict=True)}
    return result


def group_outputs(backbone: Backbone, cuts: Sequence[Cut]) -> dict[str, Cut]:
    """Return the last cut inside each group that has one, in depth order; ``cuts`` are in depth order too."""
    place = {name: number for number, names in enumerate(backbone.groups.values()) for name in names}
    groups = list(backbone.groups)
    found = {groups[max(place[name] for name in cut.parameters)]: cut for cut in cuts if cut.parameters}
    return {group: found[group] for group in groups if group in found}


def find_deepest_unchanged(policy: CachePolicy, changed: frozenset[str]) -> Cut | None:
    """Return the deepest cut at which this run read the cache and below which nothing has changed."""
    cuts = [choice.cut for choice in policy.choices if choice.cut is not None]
    unchanged = [cut for cut in cuts if not (cut.parameters | cut.buffers) & changed]
    return max(unchanged, key=lambda cut: cut.flops, default=None)


def draw_samples(cache: PrefixCache, start: Cut | None) -> Inputs:
    """Return validation samples, ``SAMPLES`` at most, from the cache at ``start`` or (None) as the data has them."""
    split = cache.data.splits["val"]
    chosen = draw_permutation(len(split), "similarity")[:SAMPLES]
    if start is None:
        return split.peek(chosen)
    return map_values(Tensor.float, cache.collect("val", start, [0]).inputs(chosen, 0))


def group_features(cache: PrefixCache, start: Cut | None, cuts: Sequence[Cut], samples: Inputs) -> list[Tensor]:
    """Return the pooled activations [n, D] at each of ``cuts``, of ``samples`` that stand at ``start``.

    The backbone moves before inference mode begins: a buffer that moves inside it can never be written again.
    """
    backbone, names = cache.backbone.to(cache.device), [cut.name for cut in cuts]
    network = make_prefix(backbone, names, None if start is None else start.name)
    with torch.inference_mode(), evaluating(backbone):
        outputs = [network(batch.to(cache.device)) for batch in split_batch(samples, BATCH)]
    return [
        torch.cat([pool_activation(batch, cut).cpu() for batch in batches])
        for cut, *batches in zip(cuts, *outputs, strict=True)
    ]


def cka(x_ND: Tensor, y_NE: Tensor) -> float:
    """Return the linear centred kernel alignment of two sets of features of the same N samples, from 0 to 1.

    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited (ICML): |Y'X|^2 / (|X'X| |Y'Y|) of
    centred features, in Frobenius norms; with more features than samples by the Gram matrices, which is the same.
    NaN where one of the two does not vary. With few samples and many features it comes out too high for features that
    have nothing in common, so compare values taken on the same number of samples only.
    """
    x_ND, y_NE = (value.double() - value.double().mean(dim=0) for value in (x_ND, y_NE))
    if max(x_ND.shape[1], y_NE.shape[1]) > len(x_ND):
        x_ND, y_NE = x_ND @ x_ND.T, y_NE @ y_NE.T
        return float((x_ND * y_NE).sum() / (x_ND.norm() * y_NE.norm()))
    return float((y_NE.T @ x_ND).norm() ** 2 / ((x_ND.T @ x_ND).norm() * (y_NE.T @ y_NE).norm()))
