"""People's own callbacks of a Trainer: what they remember from epoch to epoch, and which of them end a phase early."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from frostline.errors import UserError, make_choice_error
from frostline.training.checkpoint import is_savable


class Companions:
    """The callbacks of a Trainer, whose state stands in every checkpoint.

    A phase may be ended early by ``EarlyStopping`` and what is derived from it, and by nothing else. Each phase is
    watched anew, since what trains in it is another network: only these callbacks begin again, all others go on.
    """

    def __init__(self, trainer: pl.Trainer):
        self.trainer = trainer
        self._saved: dict[str, Any] | None = None
        self._first: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return what the callbacks remember, by their keys. Raises UserError for what no checkpoint can hold."""
        if self._saved is not None:  # no fit has begun yet
            return self._saved
        found = {}
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if state := callback.state_dict():
                if not is_savable(state):
                    raise UserError(
                        f"trainer.callbacks: {type(callback).__name__}.state_dict() holds what no checkpoint can: "
                        "expected tensors, numbers, texts, lists and dicts of them."
                    )
                found[callback.state_key] = state
        return found

    def load(self, state: dict[str, Any]) -> None:
        """Let the callbacks remember this ``state`` when the next fit begins."""
        self._saved = state

    def begin_fit(self, new_phase: bool, scores: Mapping[str, Sequence[str] | None]) -> None:
        """Give the callbacks, which have been set up by now, what they are to remember.

        Raises UserError for an EarlyStopping that monitors what is not among the ``scores`` of every phase, by name;
        those of a phase are None where nobody knows them yet.
        """
        for callback in self._stoppers():
            check_monitor(callback, scores)
        if self._first is None:
            self._first = {one.state_key: deepcopy(one.state_dict()) for one in self._stoppers()}
        if self._saved is not None:
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if (state := self._saved.get(callback.state_key)) is not None:
                    callback.load_state_dict(deepcopy(state))
            self._saved = None
        if new_phase:
            for callback in self._stoppers():
                callback.load_state_dict(deepcopy(self._first[callback.state_key]))

    def stop_reason(self) -> str | None:
        """Return why one of them wants the phase to end, None where none does; asked at an epoch's end.

        Raises UserError where something else has stopped the Trainer: what it trained is not what was planned.
        """
        if not self.trainer.should_stop:
            return None
        for callback in self._stoppers():
            if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
                said = callback.stopping_reason_message or f"{type(callback).__name__} stopped it."
                return said.removesuffix(" Signaling Trainer to stop.")
        raise UserError(
            f"trainer.callbacks: something stopped the Trainer in epoch {self.trainer.current_epoch}; expected nothing "
            "to do so but EarlyStopping, or a class derived from it: a phase is as long as its plan says (epochs=N)."
        )

    def _stoppers(self) -> list[EarlyStopping]:
        return [one for one in self.trainer.callbacks if isinstance(one, EarlyStopping)]  # type: ignore[attr-defined]


def check_monitor(callback: EarlyStopping, scores: Mapping[str, Sequence[str] | None]) -> None:
    """Raise UserError where a phase does not have the score that a callback monitors, unless it is to do without.

    A phase whose scores nobody knows yet (None) may have it.
    """
    where, monitor = f"trainer.callbacks: {type(callback).__name__}.monitor", callback.monitor
    without = {phase: found for phase, found in scores.items() if found is not None and monitor not in found}
    if not without or (len(without) < len(scores) and not callback.strict):
        return
    if len(without) == len(scores):
        raise make_choice_error(where, monitor, dict.fromkeys(name for found in without.values() for name in found))
    phase, found = next(iter(without.items()))
    raise UserError(
        f"{where}: {monitor} is not counted in the phase {phase}; expected one of {', '.join(found)}, or strict=false, "
        "which lets such a phase run to its end."
    )
