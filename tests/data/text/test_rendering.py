"""Texts as pictures of their words."""

import torch

from frostline.data.text.rendering import Rendered


def test_a_text_is_printed_word_by_word_and_cut_off_below() -> None:
    page = Rendered(64, 10)
    one, same, other, empty, long = page.encode(["ab cd", "ab  cd", "ab dc", "", "word " * 100])
    assert one.shape == (3, 64, 64) and one.dtype == torch.uint8
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert empty.min() == 255 and long[:, 52:].min() < 128, "the last of five lines is full"
    assert page.count_cut(["ab cd", "word " * 100, "ab"], []) == 1
    assert page.encode(["w" * 60])[0, 0, 14:24].min() < 128, "a word longer than a line goes on in the next"
