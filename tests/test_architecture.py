"""The policies of the house: imports run one way, files and functions stay small, the start is quick."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "frostline"
# Each layer with what it is. A module imports only from its own room, and from rooms of the layers above its own here.
LAYERS = {
    "a user's mistake as a sentence, numbers with their units; processes": (
        "errors",
        "ranges",
        "units",
        "intervals",
        "processes",
    ),
    "files: whole or absent": ("files",),
    "what is asked of the labels, and what is to train: plain data": ("tasks", "freeze"),
    "from overrides to one typed, checked config": ("config",),
    "which rank this is, and what ranks exchange": ("ranks",),
    "samples: read, divided, put in order": ("data",),
    "the network: pretrained layers, and new ones": ("backbones", "heads"),
    "what is computed once of the frozen layers; linear models of it, solved": ("features", "solving"),
    "how a phase is trained, and what a run leaves behind": ("training", "results"),
    "one run: the only builder, and the story from data to record": ("runs",),
    "what a network's depths are worth, before anything trains": ("profiles",),
    "where runs are executed": ("launchers",),
    "what is made of runs": ("report", "serving", "comparison", "tuning"),
    "an answer under a deadline": ("advice",),
    "what people call from Python": ("api",),
    "what people call from a shell": ("commands",),
    "the program": ("__main__",),
}
ORDER = {name: place for place, names in enumerate(LAYERS.values()) for name in names}
HEAVY = {"torch", "torchvision", "timm", "pytorch_lightning", "lightning", "torchmetrics", "sklearn", "matplotlib"}
LIGHT = {"errors", "ranges", "units", "processes", "files", "config", "results"}
LIGHT |= {"launchers", "comparison", "tuning", "advice", "commands"}
# What modules set on objects that are not theirs: a library wants it so, or leaves no other way.
FOREIGN = {
    "torch": {
        "backbones/base.py": {"training"},
        "backbones/chains/transformer.py": {"forward"},  # blocks are met where the network calls them
        "backbones/flops.py": {"mod_tracker"},
        "backbones/traced/measure.py": {"training"},
        "backbones/traced/trace.py": {"meta", "__dict__"},  # torch.fx leaves constants on what it traces
        "ranks/numerics.py": {"allow_tf32", "benchmark", "deterministic"},
        "training/own/rates.py": {"param_groups", "state"},
        "training/sharded.py": {"data", "__class__", "__dict__", "_parameters"},  # what FSDP changes is put back
    },
    "torchvision": {"data/archives.py": {"extract_archive"}},
    "Lightning": {
        "api/fit.py": {"callbacks"},
        "processes/imports.py": {"__bool__"},
        "runs/setup.py": {"callbacks"},  # the journal is made of the Trainer's own parts
        "training/lightning.py": {
            *("_broadcast_sigterm_tensor", "broadcast", "max_epochs", "register_signal_handlers"),
            *("ready", "started", "processed", "completed"),
        },
        "training/own/keeper.py": {"should_stop", "training"},
    },
    "transformers": {
        "backbones/chains/hub.py": {"_name_or_path", "pooler", "use_cache"},
        "backbones/chains/speech_transformers.py": {
            *("compute_bias", "encoder_layerdrop", "layerdrop", "max_source_positions", "num_embeddings", "weight"),
        },
    },
    "Hydra, PyYAML": {
        "config/hydra_source.py": {"name"},
        "config/hydra_state.py": {"cfg", "hydra", "repo", "version_base"},
        "hydra_plugins/frostline_pool.py": {"id", "num"},
    },
    "Optuna": {"tuning/sitting.py": {"sampler"}},
    "pebble, multiprocessing, logging": {
        "launchers/pool/slot.py": {"term_timeout", "value"},
        "launchers/pool/warm.py": {"handlers", "value"},
    },
    "Pillow": {"data/image/viewing.py": {"info"}},
    "xml": {"report/page/charts/svg.py": {"text"}},
    "Jinja": {"report/page/html.py": {"filters", "globals"}},
}
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
CHANGES |= {"reverse", "sort"}
TRAINS = ("imports.py",)  # modules of a process that trains
PRIVATE = {  # attributes that begin with "_" and are used by others than the object they belong to, and why
    "_asdict _replace": "public, of named tuples",
    "_exit": "public, of os",
    "_repr_html_": "public, of notebooks",
    "_name_or_path _supports_sdpa": "transformers says nowhere else where a network is from, and what it can do",
    "_forward_hooks _forward_pre_hooks": "torch lists a module's hooks nowhere else",
    "_parameters": "torch replaces a parameter by one that is none in no other way",
    "_base _version": "torch says nowhere else what a tensor is a view of, and whether it was written to",
    "_C _cuda_clearCublasWorkspaces": "torch gives this memory back in no other way; its own tests do it so",
    "_set_pg_timeout": "torch gives a process group another time limit in no other way",
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward": "an operator",
    "_cudnn_rnn _cudnn_rnn_backward _to_copy": "operators",
    "_labels _images _image_files": "torchvision's data sets say nowhere else what is in them",
    "_config": "multiprocessing asks no one else where its sockets go",
    "_run_exitfuncs": "Python runs them in no other way before the end",
    "_trial_id": "Optuna's storage knows a trial by no other number",
}
KEPT = {name for names in PRIVATE for name in names.split()}
LIGHTNING = "training/lightning.py"
"""Where what Lightning keeps to itself is used: its private attributes, and its loops."""
SOURCES = sorted(path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the room of a module: the first name below the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> set[str]:
    """Return the modules that a tree imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_module_level(path: Path) -> set[str]:
    """Return the top packages that a module imports when it is imported itself."""
    body = ast.parse(path.read_text()).body
    plain = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name.partition(".")[0] for node in plain for name in imports(node)}


def changed_objects(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield what is set, deleted, or changed in place, wherever in a tree."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                yield node
            case ast.Subscript(value, ctx=ast.Store() | ast.Del()):
                yield value
            case ast.Call(ast.Name("setattr" | "delattr") | ast.Attribute(attr="__setattr__"), [owner, name, *_]):
                yield ast.Attribute(owner, str(name.value) if isinstance(name, ast.Constant) else "?")
            case ast.Call(ast.Attribute(value, name)) if name in CHANGES:
                yield value


def foreign_attributes(tree: ast.AST) -> set[str]:
    """Return the attributes that a module changes of other objects than ``self``, the process's environment apart."""
    found = set()
    for changed in changed_objects(tree):
        while isinstance(changed, ast.Subscript):
            changed = changed.value
        match changed:
            case ast.Attribute(ast.Name("self" | "cls" | "os" | "sys")):
                pass
            case ast.Attribute(_, name):
                found.add(name)
    return found


def test_an_object_sets_its_fields_itself() -> None:
    modules = {path.relative_to(ROOT / "src").as_posix(): path for path in (ROOT / "src").rglob("*.py")}
    found = {name: foreign_attributes(ast.parse(path.read_text())) for name, path in modules.items()}
    allowed = {name: fields for library in FOREIGN.values() for name, fields in library.items()}
    assert {name.removeprefix("frostline/"): fields for name, fields in found.items() if fields} == allowed


@pytest.mark.parametrize(
    "line",
    [
        "other.field = 1",
        "other.field += 1",
        "self.other.field = 1",
        "self.others[0].field = 1",
        "first, (second, other.field) = values",
        "for other.field in values: pass",
        "del other.field",
        "other.field[0][key] = 1",
        "make().field.append(1)",
        "self.other.field[0].update(values)",
        "setattr(other, 'field', 1)",
        "object.__setattr__(other, 'field', 1)",
    ],
)
def test_a_field_set_from_outside_is_seen(line: str) -> None:
    assert foreign_attributes(ast.parse(line)) == {"field"}


@pytest.mark.parametrize(
    "line", ["self.field = 1", "self.field[0].append(1)", "local.append(1)", "os.environ['A'] = 'b'", "other.save(1)"]
)
def test_an_object_may_set_its_own(line: str) -> None:
    assert foreign_attributes(ast.parse(line)) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in ORDER, f"{here} has no place in the order of the rooms"
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "frostline" or parts[1] == "__version__":
            continue
        assert parts[1] == here or ORDER[parts[1]] < ORDER[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_starts_the_program_imports_nothing_heavy(path: Path) -> None:
    if room(path) in LIGHT and path.name not in TRAINS:
        assert not at_module_level(path) & HEAVY


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "a module says in a sentence what it is"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_a_drawer_for_anything(path: Path) -> None:
    assert not set(path.relative_to(ROOT).with_suffix("").parts) & {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "misc",
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_private_is_used_by_its_owner(path: Path) -> None:
    if path == PACKAGE / LIGHTNING:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "super()"):
            private = node.attr.startswith("_") and not node.attr.endswith("__") and node.attr not in KEPT
            assert not private, f"line {node.lineno}: {ast.unparse(node)}"
            assert node.attr != "fit_loop", f"line {node.lineno}: {ast.unparse(node)} belongs in {LIGHTNING}"


def test_text_files_are_ascii_and_name_no_package_index() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    paths = listed.stdout.splitlines()
    assert paths
    hosts = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted", r"index-" + "url", "npm" + r"js\.(org|com)"]))
    for path in paths:
        content = (ROOT / path).read_bytes() if (ROOT / path).is_file() else b""
        if b"\0" in content:  # a picture
            continue
        text = content.decode()
        assert text.isascii() or Path(path).suffix in (".svg", ".csv"), path
        assert not hosts.search(text), path
