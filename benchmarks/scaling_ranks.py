"""Be one of the ranks that benchmarks/scaling_measured.py starts: a small run, of which four steps are watched."""

import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from frostline.config.compose import compose, resolve
from frostline.ranks.collectives import Ranks
from frostline.runs import experiment
from frostline.training import journal

FIRST, LAST = 2, 6
CALLS = 1000
SMALL = [
    *("backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "freeze=full", "epochs=1"),
    *("data=digits", "data.size=32", "data.num_per_class=16", "data.batch_size=20", "test=false"),
    *("trainer=ddp_cpu", "trainer.devices=2"),
]


def watch(found: dict[str, Any]) -> None:
    """Count the collectives between the questions, before two steps of the run, whether it is to stop."""
    asked = journal.find_reason
    profiler = profile(activities=[ProfilerActivity.CPU])

    def find_reason(trainer: Any, group: Ranks, batch_idx: int) -> str | None:
        if batch_idx == FIRST:
            profiler.start()
        if batch_idx == LAST:
            profiler.stop()
            called = Counter(event.name for event in profiler.events() or () if event.name.startswith("c10d::"))
            found["calls a step"] = {name: count / (LAST - FIRST) for name, count in sorted(called.items())}
            found["microseconds of one, median and mean"] = asking(group)
            found["rank"] = group.rank
        return asked(trainer, group, batch_idx)

    journal.find_reason = find_reason


def asking(group: Ranks) -> list[int]:
    """Return the microseconds that the question takes by itself."""
    spans = []
    for _ in range(CALLS):
        before = time.perf_counter()
        group.holds_everywhere(True, group.step_patience)
        spans.append(1e6 * (time.perf_counter() - before))
    return [round(statistics.median(spans)), round(statistics.mean(spans))]


def main() -> None:
    folder = Path(sys.argv[1])
    found: dict[str, Any] = {}
    watch(found)
    experiment.run_experiment(resolve(compose("run", [*SMALL, f"outputs={folder}"])), "watched", folder)
    if found["rank"] == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
