"""Being asked to stop: at once, or within an epoch at the end of a step, so that nothing done is lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop; not an Exception, so that nothing on the way swallows it."""


class Stop:
    """Whether this process was asked to stop (``why``), and whether it is in an epoch, whose next step sees to it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: nobody has asked."""
        self.why: str | None = None
        self.in_epoch = False


STOP = Stop()
os.register_at_fork(after_in_child=STOP.forget)  # a loader's process trains no epoch: it ends when it is told to


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM stop what runs here; a second one does so at once, wherever that is."""
    STOP.forget()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    why = f"stopped by {signal.Signals(number).name}"
    if STOP.in_epoch and STOP.why is None:
        STOP.why = why
    else:
        raise Interrupted(why)
