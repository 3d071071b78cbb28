"""Files of --config-dir: looked at before Hydra reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from omegaconf.errors import OmegaConfBaseException

from frostline.errors import UserError, read_first_line
from frostline.files.atomic import describe_irregular

SCHEME = "frostline"
MOST_BYTES = 1 << 20
"""Bytes of a file, and characters that it comes to when each alias is written out."""


class OwnFiles(FileConfigSource):
    """A folder of config groups of the user's own, perhaps of somebody else's making.

    Only files in groups are seen, so that none takes the place of what the roots are made of.
    """

    @staticmethod
    def scheme() -> str:
        """Return what addresses of such folders begin with."""
        return SCHEME

    def is_config(self, config_path: str) -> bool:
        """Return whether there is such a config; what is no file is none, and is named when it is asked for."""
        return "/" in config_path and (
            super().is_config(config_path) or self._describe_irregular(config_path) is not None
        )

    def _describe_irregular(self, config_path: str) -> str | None:
        return describe_irregular(Path(self.path) / self._normalize_file_name(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a config. Raises UserError, naming the file, for what is no plain file of YAML."""
        path = Path(self.path) / self._normalize_file_name(config_path)
        check_file(path)
        try:
            return super().load_config(config_path)
        except (OmegaConfBaseException, yaml.YAMLError):
            raise
        except (OSError, ValueError, TypeError, RecursionError, AssertionError) as error:
            raise UserError(
                f"{path}: it is no config ({read_first_line(error)}); write keys and values as YAML."
            ) from error


def check_file(path: Path) -> None:
    """Refuse a file that is no regular one, is no UTF-8, or would swell. Raises UserError, or YAMLError by PyYAML."""
    if (what := describe_irregular(path)) is not None:
        raise UserError(f"{path}: it {what}; a config is a file of YAML.")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{path}: {size:,} bytes are no config; a file of YAML has at most {MOST_BYTES:,}.")
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"{path}: it cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: it is not UTF-8; save it as UTF-8.") from error
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(f"{path}, line {line}: it holds a character that YAML does not allow.") from error
    loader.name = str(path)
    try:
        node = loader.get_single_node()
        swollen = node is not None and measure_expanded(node, {}) > MOST_BYTES
    except RecursionError as error:
        raise UserError(f"{path}: it is nested too deeply for a config.") from error
    finally:
        loader.dispose()
    if swollen:
        raise UserError(f"{path}: its aliases come to more than {MOST_BYTES:,} characters; write them out, or fewer.")
    for name in iterate_defaults(node):
        if ".." in name.split("/"):
            raise UserError(f"{path}: defaults: {name!r} leads out of the folders of configs; name a group's file.")


def measure_expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how long a node is with each alias in it written out; infinite for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = len(parts) if isinstance(node, yaml.ScalarNode) else sum(measure_expanded(one, known) for one in parts)
        known[id(node)] = 1 + inner
    return known[id(node)]


def iterate_defaults(node: Any) -> Iterator[str]:
    """Yield every text in the list `defaults` of a file."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if getattr(key, "value", None) == "defaults":
                yield from _scalars(value)


def _scalars(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    else:
        for one in node.value:
            for inner in one if isinstance(one, tuple) else (one,):
                yield from _scalars(inner)
