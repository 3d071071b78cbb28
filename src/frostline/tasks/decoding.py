"""From what a network says of each frame to a sequence: CTC's decoding, greedy and by beam search."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

BLANK = 0


def decode_greedily(logits_TV: Tensor) -> list[int]:
    """Return the sequence of the best symbol of each frame."""
    return collapse_symbols(logits_TV.argmax(dim=-1).tolist())


def collapse_symbols(symbols: Sequence[int]) -> list[int]:
    """Return a symbol a frame as a sequence: repeats made one and blanks left out."""
    return [symbol for symbol, _ in groupby(symbols) if symbol != BLANK]


def beam(logits_TV: Tensor, width: int) -> list[int]:
    """Return the likeliest sequence, summed over all ways to spell it, among the ``width`` best beginnings.

    Prefix beam search (Hannun et al. 2014, arXiv:1408.2873) without a language model. Of a frame the ``width``
    likeliest symbols are tried.
    """
    log_TV = logits_TV.double().log_softmax(dim=-1)
    best = log_TV.topk(min(width, log_TV.shape[1]), dim=-1)
    logs_T, symbols_T, whole = best.values.tolist(), best.indices.tolist(), log_TV.tolist()
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for logs, symbols, frame in zip(logs_T, symbols_T, whole, strict=True):
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for prefix, (blank, symbol_last) in beams.items():
            either = _add(blank, symbol_last)
            grown[prefix][0] = _add(grown[prefix][0], either + frame[BLANK])
            if prefix:  # the last symbol goes on
                grown[prefix][1] = _add(grown[prefix][1], symbol_last + frame[prefix[-1]])
            for log, symbol in zip(logs, symbols, strict=True):
                if symbol != BLANK:
                    before = blank if prefix and symbol == prefix[-1] else either
                    longer = grown[(*prefix, symbol)]
                    longer[1] = _add(longer[1], before + log)
        kept = sorted(grown.items(), key=lambda item: -_add(*item[1]))[:width]
        beams = {prefix: (ended[0], ended[1]) for prefix, ended in kept}
    return list(max(beams, key=lambda prefix: _add(*beams[prefix])))


def _add(one: float, other: float) -> float:
    """Return the logarithm of the sum of two probabilities given by theirs."""
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
