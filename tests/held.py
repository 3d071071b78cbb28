"""What memory a script of a test holds of its own: a script begins with `WATCH`, and has `watching_memory` then."""

WATCH = """
import threading
from contextlib import contextmanager
from pathlib import Path

def read_held():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

@contextmanager
def watching_memory():
    '''Yield a list whose only number becomes the most that is held more than before, in bytes.'''
    most, done, before = [0], threading.Event(), read_held()
    def watch():
        while not done.wait(0.01):
            most[0] = max(most[0], read_held() - before)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()
"""
