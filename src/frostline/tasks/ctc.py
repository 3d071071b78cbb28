"""Transcripts: a sequence of characters for each sample, of which nobody says when each is spoken."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from frostline.errors import UserError
from frostline.tasks.base import Answer, Outputs, Task
from frostline.tasks.declarations import CTC
from frostline.tasks.decoding import BLANK, beam, decode_greedily

NOTHING = -1  # fills labels [N, L] beyond the end of a transcript


class Ctc(Task):
    """Connectionist temporal classification: a character or nothing for each frame (Graves et al. 2006, ICML).

    Transcripts are those of the label column, with single spaces, in lower case if ``lower``. ``characters`` are all
    that may occur in them; null: those of train. ``beam`` is how many beginnings the search for a transcript keeps; 1:
    the best symbol of each frame is taken.
    """

    declaration = CTC
    is_sequence = True

    def __init__(self, lower: bool, characters: str | None, beam: int) -> None:
        if beam < 1:
            raise UserError(f"task.beam: {beam} is invalid: expected 1 (greedy) or more.")
        self.lower, self.characters, self.beam = lower, characters, beam
        self.alphabet: list[str] = []

    def spelled(self, label: str) -> str:
        """Return a transcript as it is learnt."""
        text = " ".join(label.split())
        return text.lower() if self.lower else text

    def members(self, label: str) -> list[str]:
        return list(self.spelled(label))

    def classes(self, labels: Sequence[str], known: Sequence[str] | None = None) -> list[str]:
        """Return the characters in their order; a reader's classes are whole labels, and of no use here."""
        if self.characters is not None:
            return sorted(set(self.characters))
        return sorted({character for label in labels for character in self.members(label)})

    def steps(self, label: str) -> int:
        """Return how many frames a transcript takes: one a character, and one between two that are equal."""
        text = self.spelled(label)
        return len(text) + sum(one == other for one, other in zip(text, text[1:], strict=False))

    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
        """Return the places of characters in ``classes`` [N, L], filled up with -1.

        Raises UserError for characters that are not among them.
        """
        place = {character: index for index, character in enumerate(classes)}
        unknown = sorted({character for label in labels for character in self.members(label)} - set(place))
        if unknown:
            raise UserError(
                f"task.characters: transcripts hold {', '.join(map(repr, unknown[:10]))}, which "
                f"{'train does' if self.characters is None else 'it does'} not; give all characters, or mend them."
            )
        rows = [
            torch.tensor([place[character] for character in self.members(label)], dtype=torch.int64) for label in labels
        ]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NOTHING)

    def fit(self, labels: Tensor, classes: Sequence[str]) -> None:
        self.alphabet = list(classes)

    def known(self) -> dict[str, Any]:
        return {"characters": self.alphabet}

    def remember(self, known: Mapping[str, Any]) -> None:
        self.alphabet = list(known["characters"])

    def width(self, classes: Sequence[str]) -> int:
        """Return one more than there are characters: the blank stands before them."""
        return len(classes) + 1

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the negative log-likelihood of a character, so that long transcripts weigh as short ones."""
        values_BTV, lengths_B = frames(outputs)
        letters_B = (labels != NOTHING).sum(dim=1)
        each_B = functional.ctc_loss(
            values_BTV.float().log_softmax(dim=-1).transpose(0, 1),
            (labels + 1).clamp(min=BLANK),
            lengths_B,
            letters_B,
            blank=BLANK,
            reduction="none",
        )
        return (each_B / letters_B.clamp(min=1)).mean()

    def hits(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return how many transcripts are right, letter for letter, without a wait for the accelerator.

        The frames that say a letter, as ``collapsed`` has it, must be as many as there are letters, and the same.
        """
        values_BTV, lengths_B = frames(outputs)
        best_BT = values_BTV.detach().argmax(dim=-1)
        before_BT = functional.pad(best_BT[:, :-1], (1, 0), value=BLANK)
        real_BT = torch.arange(best_BT.shape[1], device=best_BT.device) < lengths_B[:, None]
        said_BT = real_BT & (best_BT != BLANK) & (best_BT != before_BT)
        place_BT = (said_BT.cumsum(dim=1) - 1).clamp(0, labels.shape[1])
        letters_BT = functional.pad(labels, (0, 1), value=NOTHING).gather(1, place_BT) + 1
        same_B = ((letters_BT == best_BT) | ~said_BT).all(dim=1)
        return (same_B & (said_BT.sum(dim=1) == (labels != NOTHING).sum(dim=1))).sum()

    def _places(self, labels: Tensor) -> list[list[int]]:
        """Return each transcript as outputs are numbered."""
        return [[place + 1 for place in row if place != NOTHING] for row in labels.tolist()]

    def dense(self, outputs: Outputs) -> Tensor:
        values_BTV, lengths_B = frames(outputs)
        beyond = torch.arange(values_BTV.shape[1], device=lengths_B.device) >= lengths_B[:, None]
        return values_BTV.float().masked_fill(beyond[..., None], math.nan)

    def deviance(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.loss((outputs.nan_to_num(), lengths(outputs)), labels)

    def texts(self, outputs: Tensor, classes: Sequence[str]) -> list[str]:
        """Return what is heard in each sample, of outputs [N, T, V]."""
        rows = (row[:length] for row, length in zip(outputs, lengths(outputs).tolist(), strict=True))
        found = [decode_greedily(row) if self.beam == 1 else beam(row, self.beam) for row in rows]
        return [self._text(places, classes) for places in found]

    def _text(self, places: Sequence[int], classes: Sequence[str]) -> str:
        return "".join(classes[place - 1] for place in places)

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return every score for outputs [N, T, V] and labels [N, L].

        Of words and of characters: insertions, deletions and substitutions as a share of what was said.
        """
        from torchmetrics.functional.text import char_error_rate, word_error_rate

        heard, said = self.texts(outputs, self.alphabet), self._said(labels)
        values = {
            "cer": char_error_rate(heard, said),
            "wer": word_error_rate(heard, said),
            "exact_match": sum(one == other for one, other in zip(heard, said, strict=True)) / len(said),
            "loss": self.deviance(outputs, labels),
        }
        return {name: float(value) for name, value in values.items()}

    def _said(self, labels: Tensor) -> list[str]:
        return [self._text(places, self.alphabet) for places in self._places(labels)]

    def answers(self, classes: Sequence[str], outputs: Tensor) -> Iterator[Answer]:
        for text in self.texts(outputs, classes):
            yield Answer(text, {})

    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: Tensor, outputs: Tensor
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for each sample: what was said, what is heard, and the errors of which both rates are made."""
        said = [self._text(places, classes) for places in self._places(labels)]
        answers = list(self.answers(classes, outputs))
        counts = errors([str(answer.prediction) for answer in answers], said)
        for name, label, answer, each in zip(names, said, answers, counts, strict=True):
            yield {"sample": name, "label": label, **self.cells(answer), **each}

    def worst(self, outputs: Tensor, labels: Tensor, most: int) -> list[tuple[int, dict[str, float]]]:
        """Return the transcripts with the most wrong characters."""
        from torchmetrics.functional.text import edit_distance

        heard, said = self.texts(outputs, self.alphabet), self._said(labels)
        errors_N = edit_distance(heard, said, reduction="none").float()
        order = errors_N.argsort(descending=True, stable=True)[:most].tolist()
        return [(index, {"error": float(errors_N[index])}) for index in order]


def frames(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Return values [B, T, V] and lengths [B]. Raises UserError for outputs that are one for each sample."""
    if isinstance(outputs, Tensor):
        raise UserError("task=ctc needs an answer for each frame; choose head=ctc and set backbone.pooling=none.")
    return outputs


def errors(heard: Sequence[str], said: Sequence[str]) -> list[dict[str, int]]:
    """Return for each transcript the wrong words and characters, and how many there are."""
    from torchmetrics.functional.text import edit_distance

    place: dict[str, str] = {}  # a sign for each word, so that words can be counted as characters are

    def signs(text: str) -> str:
        return "".join(place.setdefault(word, chr(0x10000 + len(place))) for word in text.split())

    if not said:
        return []
    words = edit_distance([*map(signs, heard)], [*map(signs, said)], reduction="none").int().tolist()
    characters = edit_distance(list(heard), list(said), reduction="none").int().tolist()
    return [
        {"word_errors": word, "words": len(text.split()), "character_errors": character, "characters": len(text)}
        for word, character, text in zip(words, characters, said, strict=True)
    ]


def lengths(outputs: Tensor) -> Tensor:
    """Return how many frames [N] dense outputs [N, T, V] have."""
    return (~outputs[..., 0].isnan()).sum(dim=1)
