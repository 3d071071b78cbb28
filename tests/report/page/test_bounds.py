"""No table, chart or sentence of a report shows a score that cannot be."""

import re
from html import unescape
from typing import Any

from frostline.report import read_comparison, write_report


def test_no_interval_leaves_the_bounds_of_a_score(comparison: Any) -> None:
    wide = {"full": (0.99, 1.0), "linear_probe": (0.02, 4.0)}

    def scattered(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["metrics"]["test"]["accuracy"] = abs(wide[label][0] - (0.0, 0.3, 0.9)[seed])

    folder = comparison(wide, change=scattered)
    write_report(folder, read_comparison([folder]))
    texts = [unescape((folder / name).read_text()) for name in ("report.md", "table.tex")]
    scores = [float(end) for text in texts for pair in re.findall(r"\[([\d.]+), ([\d.]+)\]", text) for end in pair]
    assert min(scores) == 0 and max(scores) == 1
    differences = re.findall(r"\[([-+][\d.]+), ([-+][\d.]+)\]", texts[0])
    assert differences and all(-1 <= float(end) <= 1 for pair in differences for end in pair)
    assert "(95% interval 0.000 to 1.000, 3 seeds)" in texts[0]
    tips = re.findall(r"test accuracy: [\d.]+ \((\S+) to (\S+)\)", (folder / "report.html").read_text())
    assert tips and all(0 <= float(end.replace("\u2212", "-")) <= 1 for tip in tips for end in tip)
