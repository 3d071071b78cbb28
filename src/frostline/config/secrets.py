"""Keeping credentials out of what is written and sent: masked texts, and references to environment variables."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from frostline.errors import UserError

WITHHELD = "(withheld)"
WORDS = frozenset(
    "password passwd passphrase pwd secret secrets token credential credentials auth authorization".split()
)
KEYS = frozenset("api access private secret account signing encryption".split())
"""Words that, in a key's name, say that its value is a credential; of KEYS together with ``key``: API_KEY, apiKey."""
PLACES = frozenset("cache dir folder file path".split())
"""Words at the end of a key's name that say that its value is a place, whatever is kept there: token_cache."""
SIGNED = ("sig", "signature", "key")
"""Names of an address's arguments that are credentials only there."""
LOGIN = re.compile(r"(?<=://)[^/\s]+@")
PASSWORD = re.compile(r"(?<=://)[^/\s:@]*:[^/\s]+@")
ARGUMENT = re.compile(r"(?<=[?&])([\w.-]+)=[^&\s'\"#]+")
TOKEN = re.compile(
    r"\b(gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_\w{16,}|sk-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
    r"|-----BEGIN[ A-Z]*PRIVATE KEY[^\n]*"
)
"""Forms of well-known services' tokens."""
HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
"""Hexadecimal of the length of a key; also of a hash, so only what is sent elsewhere is without it."""
REFERENCE = re.compile(r"\$\{oc\.env:([A-Za-z_]\w*)(?:,(null|'(?:[^'\\]|\\.)*'))?\}")
SHORTEST = 6
"""Characters of a variable's value from which on it is looked for in messages."""


def flatten_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a config as one table with dotted keys, lists as JSON, and ``WITHHELD`` for what looks like a credential.

    That is a value whose key has a word such as ``token`` or ``api_key`` in it, or which itself has the form of a
    well-known token or a key; a login in an address is cut out of it.
    """
    table: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not is_secret(str(key)):
            table |= flatten_config(value, f"{name}.")
        else:
            shown = mask_value(value, str(key), _mask_sent)
            table[name] = json.dumps(shown) if isinstance(shown, list) else shown
    return table


def is_secret(key: str) -> bool:
    """Return whether a key's name has a word for a credential in it, however it is written."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", key)]
    pairs = [first + second for first, second in pairwise(words)]
    if words and words[-1] in PLACES:
        return False
    return not WORDS.isdisjoint(words) or any(
        word.removesuffix("key") in KEYS for word in pairs + words if "key" in word
    )


def mask_value(value: Any, key: str = "", text: Callable[[str], str] | None = None) -> Any:
    """Return a config value under its key, and what is in it, without credentials; ``text`` masks each text.

    A text that is nothing but references to environment variables is none.
    """
    if isinstance(value, str):
        return WITHHELD if is_secret(key) and without_references(value) else (text or without_credentials)(value)
    if is_secret(key) and value is not None and (text is not None or not isinstance(value, bool | int | float)):
        return WITHHELD
    if isinstance(value, Mapping):
        return {name: mask_value(inner, str(name), text) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(inner, key, text) for inner in value]
    return value


def without_credentials(text: str) -> str:
    """Return a text without logins and credentials in addresses, and without tokens of well-known forms."""

    def argument(found: re.Match[str]) -> str:
        return f"{found[1]}={WITHHELD}" if _is_credential(found) else found[0]

    def login(found: re.Match[str]) -> str:
        kept = REFERENCE.search(found[0]) and not PASSWORD.search(f"://{without_references(found[0])}")
        return found[0] if kept else f"{WITHHELD}@"

    return TOKEN.sub(WITHHELD, ARGUMENT.sub(argument, LOGIN.sub(login, text)))


def _is_credential(argument: re.Match[str]) -> bool:
    """Return whether an argument of an address is a credential, written out."""
    name, _, value = argument[0].partition("=")
    signed = re.split(r"[-_.]", name.lower())[-1] in SIGNED
    return (is_secret(name) or signed) and without_references(value) != ""


def _mask_sent(text: str) -> str:
    return WITHHELD if HEXADECIMAL.fullmatch(text) else without_credentials(text)


def without_references(text: str) -> str:
    """Return a text without its references, but with their defaults."""
    return REFERENCE.sub(lambda found: _default(found) or "", text)


def check_secrets(config: Mapping[str, Any]) -> None:
    """Refuse a config that holds a credential, which would stand in every file that is written of it.

    Raises UserError that names the key and what to write instead; a user's name alone in an address is none.
    """
    for where, key, value in _texts(config):
        plain = without_references(value)
        known = PASSWORD.search(plain) or TOKEN.search(plain) or any(map(_is_credential, ARGUMENT.finditer(plain)))
        if known or (is_secret(key) and plain):
            raise UserError(
                f"{where}: it holds a password, a key or a token, which would stand in every file of the run; "
                "put it in an environment variable and write ${oc.env:NAME} in its place (quoted from the shell)."
            )


def resolve_env(value: Any, key: str = "", secrets: bool = True) -> Any:
    """Return a config value, and what is in it, with environment variables in the place of references to them.

    It is called just before use: what is written holds the references. Without ``secrets`` those stay that stand for
    credentials, by their key or as the login of an address. Raises UserError, naming the key, for a variable that is
    not set and has no default.
    """
    if isinstance(value, Mapping):
        return {name: resolve_env(one, f"{key}.{name}" if key else str(name), secrets) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [resolve_env(one, key, secrets) for one in value]
    if not isinstance(value, str) or "${oc.env:" not in value:
        return value
    if not secrets and is_secret(key.rpartition(".")[2]):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole and whole[2] == "null" and whole[1] not in os.environ:
        return None
    kept = [] if secrets else [one.span() for one in LOGIN.finditer(value)]

    def substitute(found: re.Match[str]) -> str:
        if any(start <= found.start() < end for start, end in kept):
            return found[0]
        text = os.environ.get(found[1], _default(found))
        if text is None:
            raise UserError(f"{key}: the environment variable {found[1]} is not set; set it, or give another value.")
        return text

    return REFERENCE.sub(substitute, value)


def make_reference(name: str, *default: Any) -> str:
    """Return the reference to an environment variable in the one form in which `resolve_env` knows it.

    Raises UserError for a name that is none, and for a variable that is not set and has no default.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", str(name)):
        raise UserError(f"${{oc.env:{name}}}: {name!r} is no environment variable's name.")
    if not default:
        if name not in os.environ:
            raise UserError(
                f"${{oc.env:{name}}}: the environment variable {name} is not set; set it, or add a default."
            )
        return f"${{oc.env:{name}}}"
    if default[0] is None:
        return f"${{oc.env:{name},null}}"
    text = str(default[0]).replace("\\", "\\\\").replace("'", "\\'")
    return f"${{oc.env:{name},'{text}'}}"


def _default(found: re.Match[str]) -> str | None:
    """Return the default of a reference, None where it has none."""
    given = found[2]
    if given is None:
        return None
    return "" if given == "null" else re.sub(r"\\(.)", r"\1", given[1:-1])


def make_mask(config: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what masks a message: credentials, and the values of the variables that a config refers to."""
    values = {value: name for name, value in find_variables(config).items() if len(value) >= SHORTEST}

    def hide(text: str) -> str:
        for value in sorted(values, key=len, reverse=True):
            text = text.replace(value, f"${{oc.env:{values[value]}}}")
        return without_credentials(text)

    return hide


def find_variables(value: Any) -> dict[str, str]:
    """Return the environment variables that a config, or several, refer to, with their values here."""
    names = {found[1] for _, _, text in _texts(value) for found in REFERENCE.finditer(text)}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


def _texts(value: Any, where: str = "", key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield every text in a config with its dotted key and the last part of that."""
    if isinstance(value, str):
        yield where, key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{where}.{name}" if where else str(name), str(name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{where}[{index}]", key)
