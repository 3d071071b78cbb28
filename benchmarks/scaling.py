"""Work out what limits each stage of a run at 8, 64 and 512 GPUs, and print the tables of docs/scaling.md.

    python benchmarks/scaling.py                # every constant of the hardware is an option, see --help
    python benchmarks/scaling.py --measure      # what can be measured is, here (benchmarks/scaling_measured.py)

The constants of Hardware (benchmarks/scaling_cluster.py) are assumptions, those of Measured were measured on two
shared processor cores.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace

from frostline.backbones.cuts import Cut
from frostline.units import format_bytes
from scaling_cluster import CLASSES, STRATEGIES, Hardware, Measured, Network, asking, networks, reading, ring

BATCH = 64
"""Samples of one GPU in a step."""
GPUS = (8, 64, 512)
SAMPLES = (10**6, 10**9)
VALIDATION = 100
"""One sample in so many is for validation."""


def duration(seconds: float) -> str:
    """Return a time for a person: ``3.2 h``."""
    for most, unit, name in (
        (1e-3, 1e-6, "us"),
        (1, 1e-3, "ms"),
        (120, 1, "s"),
        (7200, 60, "min"),
        (172800, 3600, "h"),
    ):
        if seconds < most:
            return f"{seconds / unit:.2g} {name}" if seconds / unit < 10 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:,.0f} days"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def times(rows: dict[str, Callable[[int, int], float]]) -> str:
    """Return a table of seconds at every number of samples and of GPUs."""
    places = [(samples, gpus) for samples in SAMPLES for gpus in GPUS]
    head = ["", *(f"10^{round(math.log10(samples))}, {gpus} GPUs" for samples, gpus in places)]
    return table(head, [[name, *(duration(seconds(*place)) for place in places)] for name, seconds in rows.items()])


def begin(hardware: Hardware, measured: Measured) -> str:
    """The start of a run: every process lists, hashes and holds the names of all images."""

    def hashed(samples: int, gpus: int) -> float:
        nodes = max(1, gpus // hardware.gpus_per_node)
        own = samples * hardware.image / (measured.digest_rate * hardware.threads)
        return max(own, reading(nodes * samples * hardware.image, gpus, hardware))

    return times(
        {
            "walking `data.root` for the run's ID (one process)": lambda samples, gpus: samples * measured.walk_s,
            "reading and hashing every image (every rank)": hashed,
            "an epoch's order (every rank)": lambda samples, gpus: samples * measured.order_s,
        }
    )


def memory(network: Network, hardware: Hardware, measured: Measured) -> str:
    """What one rank holds, whatever the number of ranks; a node has several."""
    share = hardware.node_memory / hardware.gpus_per_node
    rows = {
        "names, paths and labels": lambda samples: samples * measured.listing_bytes,
        "the most while they are made": lambda samples: samples * measured.listing_peak,
        "an epoch's order": lambda samples: samples * measured.order_bytes,
        "validation logits, 1% of the samples (rank 0)": lambda samples: samples / VALIDATION * (4 * CLASSES + 16),
        f"features of {network.name} for `head.solver=lbfgs` (rank 0)": lambda samples: (
            samples * network.cuts[-1].bytes
        ),
    }
    cells = {name: [needs(samples) for samples in SAMPLES] for name, needs in rows.items()}
    lines = [
        [name, *(f"**{format_bytes(v)}**" if v > share else format_bytes(v) for v in row)]
        for name, row in cells.items()
    ]
    return table(["in each rank", "10^6", "10^9"], lines)


def extraction(found: Sequence[Network], hardware: Hardware, measured: Measured) -> str:
    """One pass over one view, divided among the ranks; the look at every image before it is not."""
    cut = found[0].cuts[-1]

    def forward(network: Network) -> Callable[[int, int], float]:
        return lambda samples, gpus: samples * network.flops / hardware.gpu_flops / gpus

    def decode(samples: int, gpus: int) -> float:
        own = samples * measured.decode_s / hardware.threads / gpus
        return max(own, reading(samples * hardware.image, gpus, hardware))

    def look(samples: int, gpus: int) -> float:
        nodes = max(1, gpus // hardware.gpus_per_node)
        own = samples * measured.check_s / hardware.threads
        return max(own, reading(nodes * samples * hardware.image, gpus, hardware))

    def write(samples: int, gpus: int) -> float:
        return max(samples * cut.bytes / measured.write_rate / gpus, reading(samples * cut.bytes, gpus, hardware))

    return times(
        {
            **{f"forward, {network.name}": forward(network) for network in found},
            "reading and decoding the images": decode,
            f"writing features of {found[0].name}": write,
            "looking for damaged images (every rank, all)": look,
            "decoding in one process (a pass of `frostline compare`)": lambda samples, gpus: decode(samples, 1),
        }
    )


def cached(found: Sequence[Network]) -> Iterator[tuple[Network, str, Cut]]:
    """Yield the cuts at which strategies of one phase are cached."""
    for network in found:
        for strategy in ("linear_probe", "last_k k=1", "last_k k=2"):
            cut = network.cut(network.plan(strategy).phases[0])
            if cut is not None:
                yield network, strategy, cut


def cache_bytes(found: Sequence[Network]) -> str:
    """How large the cache is."""
    head = ["network", "strategy", "cut", "bytes a sample", "10^6", "10^6, 4 views", "10^9"]
    lines = [
        [network.name, strategy, f"`{cut.name.removeprefix('network.')}`", f"{cut.bytes:,}"]
        + [format_bytes(cut.bytes * samples) for samples in (10**6, 4 * 10**6, 10**9)]
        for network, strategy, cut in cached(found)
    ]
    return table(head, lines)


def cache_times(found: Sequence[Network], hardware: Hardware, measured: Measured) -> str:
    """Opening an entry (every rank hashes all of it) and reading it once in random order (divided among the ranks)."""
    rows: dict[str, Callable[[int, int], float]] = {}
    chosen = [(found[0], "linear_probe"), (found[0], "last_k k=1"), (found[-1], "last_k k=1")]
    for network, strategy, cut in cached(found):
        if (network, strategy) in chosen:
            label = f"{network.name}, {strategy}"
            rows[f"opening: {label}"] = _opening(cut, hardware, measured)
            rows[f"an epoch: {label}"] = _epoch(cut, hardware, measured)
    rows["an epoch: looking for rows in a file for each rank"] = lambda samples, gpus: (
        samples / BATCH * measured.files_s
    )
    return times(rows)


def _opening(cut: Cut, hardware: Hardware, measured: Measured) -> Callable[[int, int], float]:
    def seconds(samples: int, gpus: int) -> float:
        nodes = max(1, gpus // hardware.gpus_per_node)
        total = samples * cut.bytes
        return max(total / measured.sum_rate, reading(nodes * total, gpus, hardware))

    return seconds


def _epoch(cut: Cut, hardware: Hardware, measured: Measured) -> Callable[[int, int], float]:
    """From memory where a node holds the entry, else in random rows from the storage, which gives more than asked."""

    def seconds(samples: int, gpus: int) -> float:
        total = samples * cut.bytes
        if total < hardware.node_memory / 2:
            return total / measured.mapped_rate / gpus
        given = samples * max(cut.bytes, hardware.read_ahead)
        return max(reading(given, gpus, hardware), samples / hardware.storage_iops)

    return seconds


def reduced_bytes(found: Sequence[Network]) -> str:
    """What a step all-reduces: of strategies with several phases the least and the most."""

    def cell(network: Network, strategy: str) -> str:
        sizes = [network.reduced(phase) for phase in network.plan(strategy).phases]
        return (
            format_bytes(sizes[0])
            if min(sizes) == max(sizes)
            else f"{format_bytes(min(sizes))} to {format_bytes(max(sizes))}"
        )

    lines = [[strategy, *(cell(network, strategy) for network in found)] for strategy in STRATEGIES]
    return table(["bytes a step", *(network.name for network in found)], lines)


def step_times(found: Sequence[Network], hardware: Hardware) -> str:
    """An all-reduce beside the computation of a step that it can hide behind."""
    lines = []
    for network in found:
        for strategy in ("linear_probe", "last_k k=1", "full"):
            phase = network.plan(strategy).phases[-1]
            cut = network.cut(phase)
            below = cut.flops if cut else 0
            computing = 3 * BATCH * (network.flops - below + 2 * network.head) / hardware.gpu_flops
            waits = [ring(network.reduced(phase), gpus, hardware) for gpus in GPUS]
            shown = [f"**{duration(wait)}**" if wait > computing else duration(wait) for wait in waits]
            lines.append([network.name, strategy, duration(computing), *shown])
    asks = [duration(asking(gpus, hardware)) for gpus in GPUS]
    lines.append(["any", "the number that says whether to stop, on processors", "", *asks])
    return table(["network", "strategy", "computing", *(f"all-reduce, {gpus} GPUs" for gpus in GPUS)], lines)


def tables(found: Sequence[Network], hardware: Hardware, measured: Measured) -> dict[str, str]:
    """Return all tables by their titles."""
    return {
        "Start": begin(hardware, measured),
        "Memory": memory(found[0], hardware, measured),
        "Extraction": extraction(found, hardware, measured),
        "Cache, bytes": cache_bytes(found),
        "Cache, time": cache_times(found, hardware, measured),
        "All-reduce, bytes": reduced_bytes(found),
        "All-reduce, time": step_times(found, hardware),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure on this machine, and use that in the tables")
    for field in fields(Hardware):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=type(field.default), default=field.default, help="default %(default)g")
    options = vars(parser.parse_args())
    measured = Measured()
    if options.pop("measure"):
        from scaling_measured import measure

        measured = replace(measured, **measure())
        print(json.dumps({name: float(f"{value:.3g}") for name, value in asdict(measured).items()}, indent=2))
    for title, text in tables(networks(), Hardware(**options), measured).items():
        print(f"{title}\n\n{text}\n")


if __name__ == "__main__":
    main()
