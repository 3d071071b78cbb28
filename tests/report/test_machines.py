"""Where runs of a comparison were measured on different machines the report says so, and claims nothing of time."""

from typing import Any

from frostline.report import read_comparison, write_report
from frostline.report.statistics.analysis import Analysis

A100 = {"device": "cuda", "names": ["NVIDIA A100", "NVIDIA A100"], "hosts": 1, "cpus": 16}
H100 = {**A100, "names": ["NVIDIA H100", "NVIDIA H100"]}
TIED = {"last_k(k=1)": (0.86, 12.0), "full": (0.86, 30.0)}


def text(folder: Any) -> str:
    return (write_report(folder, read_comparison([folder])).parent / "report.md").read_text()


def test_one_machine_is_a_fact_and_no_warning(comparison: Any) -> None:
    def change(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["machine"] = A100
        record["cost"]["peak_device_bytes"] = 3_000_000_000

    said = text(comparison(change=change))
    assert "NVIDIA A100 with 16 cores" in said and "different machines" not in said
    assert "of the GPU" in said and "3 GB" in said


def test_several_machines_are_named_with_who_had_which(comparison: Any) -> None:
    def change(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["machine"] = H100 if label == "full" else A100

    folder = comparison(strategies=TIED, change=change)
    said = text(folder)
    assert "measured on different machines (NVIDIA A100 with 16 cores, NVIDIA H100 with 16 cores)" in said
    assert "NVIDIA H100 with 16 cores (full)" in said and "NVIDIA A100 with 16 cores (last" in said
    verdict = Analysis(read_comparison([folder])).verdict
    assert verdict.cheapest is None and "cheap" not in verdict.sentence


def test_a_run_that_moved_from_one_machine_to_another_is_not_comparable_either(comparison: Any) -> None:
    def change(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["machine"] = {**A100, "earlier": [H100] if (label, seed) == ("full", 1) else []}

    said = text(comparison(strategies=TIED, change=change))
    assert "NVIDIA A100 with 16 cores, before that on NVIDIA H100 with 16 cores" in said and "not comparable" in said


def test_a_run_on_processors_has_no_memory_of_a_gpu_and_an_old_record_no_machine(comparison: Any) -> None:
    def change(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        if seed:
            del record["machine"]

    said = text(comparison(change=change))
    assert "of the GPU" not in said and "different machines" not in said and "peak memory" in said
