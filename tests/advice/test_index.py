"""advice.json: what is written can be read, and an earlier sitting's findings are kept for the same advice alone."""

from pathlib import Path

from tests.advice_contents import make_answer, make_trial

from frostline.advice.candidates import Inquiry, make_inquiry
from frostline.advice.index import AdviceIndex, read

SMALL = ["backbone=timm", "backbone.name=test_resnet", "data=digits", "advise.rates=[0.001]"]


def ask(tmp_path: Path, *overrides: str) -> Inquiry:
    return make_inquiry([*SMALL, f"outputs={tmp_path}", *overrides], None)


def test_what_is_written_is_read_back_and_kept_for_the_same_advice(tmp_path: Path) -> None:
    index = AdviceIndex.open(tmp_path, ask(tmp_path, "advise.within=60"), "frostline advise")
    index.set(seconds=12.5, answer=make_answer({}, {"joined": 0.9}))
    index.set_trial(make_trial("joined", 0.9), tmp_path / "runs/joined0")
    index.add_move(1.234, "stops", "last", "too slow")
    found = read(tmp_path)
    assert found is not None and found == index.content
    assert found["base"] == [*SMALL[:3], f"outputs={tmp_path}"]
    assert found["trials"][0]["path"] == "runs/joined0" and found["lower_is_better"] is False
    longer = AdviceIndex.open(tmp_path, ask(tmp_path, "advise.within=90"), "frostline advise")
    assert longer.earlier == 12.5 and longer.content["within"] == 90 and longer.content["moves"] == found["moves"]
    other = AdviceIndex.open(tmp_path, ask(tmp_path, "epochs=3"), "frostline advise")
    assert other.earlier == 0.0 and other.content["trials"] == []
    anew = AdviceIndex.open(tmp_path, ask(tmp_path, "force=true"), "frostline advise")
    assert anew.content["trials"] == []


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"format": 1}'):
        (tmp_path / "advice.json").write_text(text)
        assert read(tmp_path) is None
