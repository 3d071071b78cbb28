"""Being asked to stop: at once, or within an epoch at the end of a step, so that nothing done is lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop; not an Exception, so that nothing on the way swallows it."""


STEP_S = 4.0
"""Seconds that a step has to end, before the process stops in the middle of it."""


class Stop:
    """Whether this process was asked to stop (``why``), and whether it is in an epoch, whose next step sees to it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: nobody has asked."""
        self.why: str | None = None
        self._in_epoch = False

    def ask(self, why: str) -> None:
        """Ask the process to stop. Raises Interrupted unless it is in an epoch and was not asked before."""
        if not self._in_epoch or self.why is not None:
            raise Interrupted(why)
        self.why = why

    def begin_epoch(self) -> None:
        """Promise to look at ``why`` before each step from here on."""
        self._in_epoch = True

    def end_epochs(self) -> None:
        """Look no more: from here on the process stops at once when it is asked to."""
        self._in_epoch = False


STOP = Stop()
os.register_at_fork(after_in_child=STOP.forget)  # a loader's process trains no epoch: it ends when it is told to


@contextmanager
def stopping_on_signals(*more: int) -> Iterator[None]:
    """Let SIGTERM, and ``more`` signals, stop what runs here.

    A second one, or a step that does not end, does so at once, wherever that is.
    """
    STOP.forget()
    before = [(number, signal.signal(number, _interrupt)) for number in (signal.SIGTERM, signal.SIGALRM, *more)]
    try:
        yield
    finally:
        ignore_signals()
        for number, handler in before:
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Let nothing interrupt this process any more: it was asked to stop, or has ended by itself, and says so."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if number == signal.SIGTERM or signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    STOP.ask(STOP.why or f"stopped by {signal.Signals(number).name}")
    signal.setitimer(signal.ITIMER_REAL, STEP_S)
