"""How a comparison was done: what its runs have left of it, and nothing made up where they have left nothing."""

import json
from pathlib import Path
from typing import Any

from frostline.report import read_comparison, write_report


def test_what_no_run_has_left_is_left_out(comparison: Any, tmp_path: Path) -> None:
    folder = comparison()
    for row in json.loads((folder / "comparison.json").read_text())["runs"]:
        (folder / row["path"] / "record.json").unlink()
    write_report(tmp_path / "report", read_comparison([folder]))
    text = (tmp_path / "report" / "report.md").read_text()
    assert "No run finished" in text and "none" not in text
    assert "selected by" not in text and "learning rates tried" not in text
