"""Every command in the README is one that works."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from frostline.commands.arguments import parse
from frostline.config.compose import compose, list_single_choices, resolve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCED = re.findall(r"^```([a-z]*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [text for language, text in FENCED if language in ("", "sh")]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("frostline ")]
COMPOSED = [line for line in COMMANDS if line.split()[1] in ("run", "compare")]
OTHERS = [line for line in COMMANDS if line not in COMPOSED and " RUN " not in line]  # tests/serving has those runs


def test_the_readme_has_commands() -> None:
    assert len(COMPOSED) >= 7 and len(OTHERS) >= 3


@pytest.mark.parametrize("line", COMPOSED)
def test_runs_and_comparisons_compose(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_conf" / "freeze").mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "freeze" / "custom.yaml", tmp_path / "my_conf" / "freeze" / "my_plan.yaml")
    _, name, *words = shlex.split(line)
    args = parse(name, "", words)
    for overrides in list_single_choices(args.overrides, args.config_dir):
        resolve(compose(name, overrides, args.config_dir))


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_run(line: str, frostline) -> None:
    words = shlex.split(line)[1:]
    done = frostline(*words, *(["--plan"] if words[0] == "tune" else []))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_first_run_of_the_readme(frostline, tmp_path: Path) -> None:
    done = frostline(*shlex.split(COMPOSED[0])[1:])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1]).name == "record.json"
    again = frostline(*shlex.split(COMPOSED[0])[1:], timeout=30)
    assert again.stdout == done.stdout, "the same command again prints the same record"


def test_the_layout_names_what_is_there() -> None:
    layout = next(block for block in BLOCKS if block.startswith("conf/"))
    for name in re.findall(r"^(?:  )?([a-z_]+(?:/|\.py)+)", layout, flags=re.MULTILINE):
        if name not in ("outputs/", "src/"):
            assert (ROOT / name).exists() or (ROOT / "src" / "frostline" / name).exists(), name


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
