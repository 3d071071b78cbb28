"""How a process of ours ends: with its exit handlers, but not for ever."""

import subprocess
import sys
import time

from frostline.processes.lifetime import EXIT_S

LEAVE = """
import atexit, sys, threading, time
from frostline.processes.lifetime import exit_process
atexit.register(print, "the last handler")
atexit.register({handler})
threading.Thread(target=time.sleep, args=(1000,)).start()
print("a word", end="")
exit_process(3)
"""


def left(handler: str) -> tuple[int, str, float]:
    """Return how a process with an exit handler ends, what it says, and after how many seconds."""
    began = time.monotonic()
    code = LEAVE.format(handler=handler)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100)
    return done.returncode, done.stdout, time.monotonic() - began


def test_exit_handlers_run_and_threads_are_not_waited_for() -> None:
    code, said, _ = left("print, ' and'")
    assert code == 3 and said == "a word and\nthe last handler\n"


def test_a_handler_that_fails_or_hangs_holds_nobody_up() -> None:
    code, said, _ = left("int, 'no number'")
    assert code == 3 and said == "a wordthe last handler\n"
    code, said, seconds = left("time.sleep, 1000")
    assert code == 3 and said == "a word" and seconds < EXIT_S + 20
