"""Borrow Hydra's state, of which a process has only one, and leave it as it was found."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

from frostline.config.schema import ROOTS

SCHEMA = "schema"
TURN = threading.RLock()


@contextmanager
def borrowing_hydra(root: str | None = None) -> Iterator[None]:
    """Use Hydra while no other thread does, with ``root``'s schema (one of `ROOTS`) in its store.

    So a program that is an app of Hydra's itself, or a notebook, finds its own state again.
    """
    with TURN:
        store, current, version = ConfigStore.instance(), HydraConfig.instance(), VersionBase.instance()
        name = f"{SCHEMA}.yaml"
        schema, config, base, running = (
            store.repo.get(name),
            current.cfg,
            version.version_base,
            GlobalHydra.instance().hydra,
        )
        if root is not None:
            store.store(name=SCHEMA, node=ROOTS[root])
        try:
            yield
        finally:
            store.repo.pop(name, None)
            if schema is not None:
                store.repo[name] = schema
            current.cfg, version.version_base, GlobalHydra.instance().hydra = config, base, running
