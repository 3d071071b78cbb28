"""The program starts quickly, and tells what one can say to it."""

import subprocess
import sys
import time

import pytest

from frostline.config import groups

PROBE = """
import sys
from frostline.commands import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
heavy = {"torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics", "sklearn", "matplotlib"}
print("HEAVY", sorted(heavy & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["compare", "-h"], ["report", "--help"], ["cache", "--help"]]
)
def test_help_is_quick_and_light(arguments: list[str]) -> None:
    seconds = []
    for _ in range(3):  # the best of three: another process may have the cores
        start = time.perf_counter()
        ended = subprocess.run([sys.executable, "-c", PROBE, *arguments], text=True, capture_output=True, timeout=60)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 1.5:
            break
    assert ended.returncode == 0, ended.stderr
    assert "HEAVY []" in ended.stdout
    assert min(seconds) < 1.5
    if arguments[0] in ("--help", "run", "compare"):
        for group, names in groups().items():
            assert any(line.split() == [group, *", ".join(names).split()] for line in ended.stdout.splitlines())


def test_doctor_and_the_module_form(frostline) -> None:
    ended = frostline("doctor")
    assert ended.returncode == 0, ended.stderr
    for word in ("pytorch-lightning", "cores", "efficientnet_lite0", "digits", "mnist"):
        assert word in ended.stdout


def test_help_lists_choices_of_the_users_own(tmp_path, capsys) -> None:
    from frostline.commands import main

    (tmp_path / "freeze").mkdir()
    (tmp_path / "freeze" / "half.yaml").write_text("_target_: frostline.freeze.strategies.last_k\nk: 2\n")
    (tmp_path / "freeze" / "_part.yaml").write_text("k: 2\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config-dir", str(tmp_path), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "half" in shown and "_part" not in shown
