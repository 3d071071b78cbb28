"""Keeping credentials out of what is sent elsewhere."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

WITHHELD = "(withheld)"
WORDS = frozenset(
    "password passwd passphrase pwd secret secrets token credential credentials auth authorization".split()
)
KEYS = frozenset("api access private secret account signing encryption".split())
"""Words that, in a key's name, say that its value is a credential; of KEYS together with ``key``: API_KEY, apiKey."""
LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
VALUE = re.compile(
    r"\b(gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_\w{16,}|sk-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
    r"|-----BEGIN[ A-Z]*PRIVATE KEY|[?&](token|sig|signature|key|password)=[^&\s]+|^[0-9a-fA-F]{32,}$",
)
"""Forms of well-known services' tokens, of keys in an address, and hexadecimal of the length of a key."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a config as one table with dotted keys, lists as JSON, and ``WITHHELD`` for what looks like a credential.

    That is a value whose key has a word such as ``token`` or ``api_key`` in it, or which itself has the form of a
    well-known token; a login in an address is cut out of it.
    """
    table: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not is_secret(str(key)):
            table |= flat(value, f"{name}.")
        else:
            shown = cleaned(str(key), value)
            table[name] = json.dumps(shown) if isinstance(shown, list) else shown
    return table


def is_secret(key: str) -> bool:
    """Say whether a key's name has a word for a credential in it, however it is written."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", key)]
    pairs = [first + second for first, second in pairwise(words)]
    return not WORDS.isdisjoint(words) or any(
        word.removesuffix("key") in KEYS for word in pairs + words if "key" in word
    )


def cleaned(key: str, value: Any) -> Any:
    """Return a value, and what is in it, without credentials."""
    if is_secret(key) and value is not None:
        return WITHHELD
    if isinstance(value, Mapping):
        return {name: cleaned(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(key, inner) for inner in value]
    return without_credentials(value) if isinstance(value, str) else value


def without_credentials(text: str) -> str:
    """Return a text without logins in addresses, or ``WITHHELD`` where it has the form of a token."""
    return WITHHELD if VALUE.search(text) else LOGIN.sub(f"{WITHHELD}@", text)
