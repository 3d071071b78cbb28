"""Files of --config-dir: what is no plain, small file of YAML is named in one sentence, in bounded time."""

import os
import time
from pathlib import Path

import pytest

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError

ALIASES = "a: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
)
MERGES = "a: &a0 {x: 1}\n" + "".join(f"b{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12))


def load(folder: Path, content: str | bytes, group: str = "data", *overrides: str) -> Run:
    path = folder / group / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return resolve(compose("run", [f"{group}=mine", *overrides], folder))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ALIASES, r"mine\.yaml: its aliases come to more than"),
        (MERGES, r"mine\.yaml: its aliases come to more than"),
        ("a: &a [*a]\n", r"mine\.yaml: its aliases"),
        ("a: " + "[" * 2000 + "]" * 2000, r"mine\.yaml: it is nested too deeply"),
        (
            "_target_: frostline.data.image.datasets.Digits\na: " + "[" * 60 + "]" * 60,
            "data: it is nested deeper than 50",
        ),
        ("x" * (1 << 20) + ": 1\n", r"mine\.yaml: 1,0\d\d,\d\d\d bytes are no config"),
        (b"a: 1\nb: \xff\n", r"mine\.yaml, line 2: it is not UTF-8"),
        ("a: 1\nb: \x01\n", r"mine\.yaml, line 2: it holds a character"),
        ("a: 1\na: 2\n", r"found duplicate key a .*mine\.yaml.*line 2"),
        ("3\n", r"mine\.yaml: it is no config"),
        ("a: 1" + "0" * 5000, r"mine\.yaml: it is no config"),
        ("defaults: [../../../somewhere/else]\n", r"mine\.yaml: defaults: '../../../somewhere/else' leads out"),
        ("defaults: 3\n", "defaults must be a list"),
        ("_target_: frostline.data.image.datasets.Digits\nsize: .nan\n", "data.size: nan"),
        ("_target_: frostline.data.image.datasets.Digits\nsize: .inf\n", "data.size: inf"),
        ("_target_: frostline.data.image.datasets.Digits\nsize: 1e400\n", "data.size: "),
        ("_target_: frostline.data.image.datasets.Digits\nsize: " + "9" * 30 + "\n", "data.size: .*64 bits"),
        ("_target_: frostline.data.image.datasets.Digits\nsize: !!binary aGk=\n", "data.size: bytes"),
        ("_target_: frostline.data.image.datasets.Digits\nsize: ${\n", "data.size|size: "),
    ],
    ids=range(19),
)
def test_what_is_no_config_is_named(tmp_path: Path, content: str | bytes, words: str) -> None:
    before = time.monotonic()
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path, content)
    assert len(str(caught.value)) < 1000 and time.monotonic() - before < 20


@pytest.mark.parametrize("way", ["text", "mapping"])
def test_interpolations_that_double_are_refused_before_they_are_filled_in(tmp_path: Path, way: str) -> None:
    lines = {
        "text": [f"k{n}: " + f"${{.k{n - 1}}}" * 10 for n in range(1, 15)],
        "mapping": [f"k{n}: {{x: '${{data.k{n - 1}}}', y: '${{data.k{n - 1}}}'}}" for n in range(1, 40)],
    }[way]
    content = "\n".join(["_target_: frostline.data.image.datasets.Digits", "k0: xxxxxxxxxx", *lines])
    with pytest.raises(UserError, match="data: its interpolations come to more than"):
        load(tmp_path, content)


def test_a_pipe_and_a_device_are_named_and_not_opened(tmp_path: Path) -> None:
    """Promise 34."""
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "mine.yaml")
    (tmp_path / "data" / "zero.yaml").symlink_to("/dev/zero")
    for name, words in (("mine", r"mine\.yaml: it is a pipe"), ("zero", r"zero\.yaml: it is a device")):
        with pytest.raises(UserError, match=words):
            compose("run", [f"data={name}"], tmp_path)


def test_no_file_takes_the_place_of_what_the_roots_are_made_of(tmp_path: Path) -> None:
    for name in ("schema", "base", "run"):
        (tmp_path / f"{name}.yaml").write_text("# @package _global_\nseed: 7\nhydra: {output_subdir: x}\n")
    assert resolve(compose("run", [], tmp_path)).seed == 0


def test_a_choice_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text("_target_: frostline.data.image.datasets.Digits\n")
    (tmp_path / "mine").mkdir()
    for choice in ("../../../evil", f"../../../../../../../..{tmp_path}/evil"):
        with pytest.raises(UserError, match="leads out"):
            compose("run", [f"data={choice}"], tmp_path / "mine")


def test_folders_with_odd_names_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "it's mine, 100% [x]"
    found = load(folder, "defaults: [digits, _self_]\nsize: 32\n")
    assert found.data["size"] == 32


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=true", "seed: "),
        ("seed=1e400", "seed: "),
        ("epochs=1" + "0" * 5000, "composed"),
        ("epochs=9999999999", "epochs: .*from 1 to 1,000,000"),
        ("cache.max_gb=inf", "cache.max_gb: inf"),
        ("cache.max_gb=nan", "cache.max_gb: nan"),
        ("launcher.timeout_s=1e300", "launcher.timeout_s: "),
        ("launcher.workers=1000000000", "launcher.workers: "),
        ("data.workers=1000000000", "data.workers: "),
        ("data.size=1000000000000", "data.size: "),
        ("head.dropout=nan", "head.dropout: nan"),
        ("task.label_smoothing=true", "task.label_smoothing: True"),
        ("data.size=" + "[" * 500 + "]" * 500, "nested too deeply"),
        ("x" * 5000 + "=3", "composed|no such key"),
    ],
    ids=range(14),
)
def test_numbers_that_no_run_can_have_are_named(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        resolve(compose("run", [override]))
    assert len(str(caught.value)) < 1500


def test_a_sweep_of_a_billion_values_is_refused_at_once() -> None:
    from frostline.comparison.cells import make_design

    with pytest.raises(UserError, match="data.size: .* more than 10,000 values"):
        make_design(["data.size=range(1,1000000000)"], None)
    with pytest.raises(UserError, match="data.size: .* more than 10,000 values"):
        make_design(["compare.axes=['data.size=range(1,1000000000)']"], None)
