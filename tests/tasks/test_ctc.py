"""Transcripts: their encoding, loss, decoding and scores, against torch, by brute force and by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.configs import make
from torch import Tensor

from frostline.data.inputs import Ragged
from frostline.errors import UserError
from frostline.heads import Frames
from frostline.tasks.ctc import Ctc
from frostline.tasks.decoding import beam, collapse_symbols, decode_greedily

ALPHABET = [" ", "a", "b"]


@pytest.fixture
def task() -> Ctc:
    made = make("task/ctc")
    made.fit(torch.zeros(0, 0), ALPHABET)
    return made


def spoken(*rows: str, frames: int = 8) -> Tensor:
    """Return outputs [N, frames, 4] that say each row, a symbol a frame ('-' is the blank), then nothing."""
    outputs = torch.full((len(rows), frames, 4), math.nan)
    for place, row in enumerate(rows):
        for time, symbol in enumerate(row):
            outputs[place, time] = torch.where(torch.arange(4) == "- ab".index(symbol), 5.0, 0.0)
    return outputs


def test_characters_are_those_of_train_in_lower_case(task: Ctc) -> None:
    assert task.classes(["Ba  b", "a"], known=["whatever", "a reader says"]) == ALPHABET
    assert make("task/ctc", lower=False).classes(["Ba"]) == ["B", "a"]
    assert make("task/ctc", characters="zyx").classes(["x"]) == ["x", "y", "z"]
    assert task.width(ALPHABET) == 4


def test_labels_are_places_filled_up(task: Ctc) -> None:
    assert task.encode(["ab  A", "b", "a"], ALPHABET).tolist() == [[1, 2, 0, 1], [2, -1, -1, -1], [1, -1, -1, -1]]


def test_characters_that_train_lacks_are_named(task: Ctc) -> None:
    with pytest.raises(UserError, match=r"task\.characters: transcripts hold 'q', 'z', which train does not"):
        task.encode(["zaq"], ALPHABET)


@pytest.mark.parametrize(("text", "steps"), [("ab", 2), ("aab", 4), ("aaa", 5), (" b  b ", 3), ("", 0)])
def test_a_transcript_takes_a_frame_a_character_and_one_between_equals(task: Ctc, text: str, steps: int) -> None:
    assert task.steps(text) == steps


def test_the_loss_is_the_likelihood_of_all_ways_to_spell(task: Ctc) -> None:
    """By brute force over every path of four frames."""
    logits = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logs = logits[0].log_softmax(-1)
    paths = [path for path in itertools.product(range(4), repeat=4) if collapse_symbols(path) == [2, 3]]
    each = [logs[range(4), path].sum() for path in paths]
    wanted = -torch.stack(each).logsumexp(0) / 2
    loss = task.loss(Ragged(logits, torch.tensor([4])), torch.tensor([[1, 2, -1]]))
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_what_stands_beyond_a_sequences_end_changes_nothing(task: Ctc) -> None:
    values = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    other, lengths, labels = values.clone(), torch.tensor([6, 3]), torch.tensor([[1, 2], [0, -1]])
    other[1, 3:] = 100.0
    assert torch.equal(task.loss(Ragged(values, lengths), labels), task.loss(Ragged(other, lengths), labels))
    dense = task.dense(Ragged(values, lengths))
    assert dense.isnan().sum() == 3 * 4 and torch.equal(dense[0], values[0])
    torch.testing.assert_close(task.deviance(dense, labels), task.loss(Ragged(values, lengths), labels))


def test_greedy_decoding_leaves_out_blanks_and_repeats() -> None:
    assert decode_greedily(spoken("aa-ab-b")[0, :7]) == [2, 2, 3, 3]
    assert decode_greedily(spoken("---")[0, :3]) == []


def test_beam_search_finds_the_likeliest_sequence() -> None:
    """By brute force over every sequence; greedy decoding fails on some of these."""
    missed = 0
    for seed in range(30):
        logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).double()
        logs = logits.log_softmax(-1)
        total: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(3), repeat=5):
            key = tuple(collapse_symbols(path))
            log = sum(float(logs[time, symbol]) for time, symbol in enumerate(path))
            total[key] = total.get(key, 0.0) + math.exp(log)
        best = list(max(total, key=total.__getitem__))
        assert beam(logits, 60) == best
        missed += decode_greedily(logits) != best
    assert missed > 3
    assert beam(torch.zeros(0, 3), 4) == []


def test_scores_count_words_and_characters(task: Ctc) -> None:
    """'ab a' heard as 'ab b' (one word of two, one character of four) and 'b' heard right."""
    outputs = spoken("ab -b", "bb-")
    labels = task.encode(["ab a", "b"], ALPHABET)
    found = task.scores(outputs, labels)
    assert found["wer"] == pytest.approx(1 / 3) and found["cer"] == pytest.approx(1 / 5)
    assert found["exact_match"] == 0.5 and tuple(found) == task.metrics
    assert task.scores(spoken("ab -a", "bb-"), labels)["loss"] < found["loss"]
    assert [index for index, _ in task.worst(outputs, labels, 1)] == [0]


def test_hits_are_transcripts_that_are_right(task: Ctc) -> None:
    labels = task.encode(["ab", "b", "a"], ALPHABET)
    outputs = Ragged(spoken("a-b", "aab", "a--").nan_to_num(), torch.tensor([3, 3, 1]))
    assert int(task.hits(outputs, labels)) == 2


@given(
    symbols=st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=6),
    lengths=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    letters=st.lists(st.lists(st.integers(0, 1), max_size=3), min_size=6, max_size=6),
)
def test_hits_are_those_of_greedy_decoding(
    symbols: list[list[int]], lengths: list[int], letters: list[list[int]]
) -> None:
    """Without a look at any value; every second label is what is said, the others are anything."""
    samples = len(symbols)
    said = [collapse_symbols(row[:length]) for row, length in zip(symbols, lengths, strict=False)]
    true = [[one - 1 for one in row] if place % 2 else letters[place] for place, row in enumerate(said)]
    width = max(map(len, true))
    labels = torch.tensor([row + [-1] * (width - len(row)) for row in true], dtype=torch.int64).reshape(samples, width)
    outputs = Ragged(torch.eye(3)[torch.tensor(symbols)], torch.tensor(lengths[:samples]))
    wanted = sum(one == [letter + 1 for letter in row] for one, row in zip(said, true, strict=True))
    assert int(make("task/ctc").hits(outputs, labels)) == wanted


def test_predictions_are_texts(task: Ctc) -> None:
    rows = list(task.predictions(["x", "y"], ALPHABET, task.encode(["ab", "b"], ALPHABET), spoken("a-bb", "--")))
    texts = {"sample": "x", "label": "ab", "prediction": "ab"}, {"sample": "y", "label": "b", "prediction": ""}
    errors = [{"word_errors": one, "words": 1, "character_errors": one, "characters": 2 - one} for one in (0, 1)]
    assert rows == [text | each for text, each in zip(texts, errors, strict=True)]
    wide = make("task/ctc", beam=5)
    wide.remember(task.known())
    assert [answer.prediction for answer in wide.answers(ALPHABET, spoken("a-bb", "--"))] == ["ab", ""]


def test_outputs_that_are_one_a_sample_are_refused(task: Ctc) -> None:
    with pytest.raises(UserError, match=r"backbone\.pooling=none"):
        task.loss(torch.zeros(2, 4), torch.zeros(2, 1))
    with pytest.raises(UserError, match=r"backbone\.pooling=none"):
        Frames(3, 4, dropout=0.1)(torch.zeros(2, 3))
    with pytest.raises(UserError, match=r"task\.beam"):
        make("task/ctc", beam=0)


def test_the_head_answers_for_each_frame() -> None:
    answers = Frames(3, 4, dropout=0.1).eval()(Ragged(torch.randn(2, 5, 3), torch.tensor([5, 2])))
    assert answers.values.shape == (2, 5, 4) and answers.lengths.tolist() == [5, 2]
