"""Optuna's side of a study: where it is kept, who proposes points, and who stops what is behind."""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.config.secrets import make_mask, resolve_env, without_credentials
from frostline.errors import UserError
from frostline.files.atomic import describe_irregular
from frostline.tuning.search import Search

if TYPE_CHECKING:
    import optuna

URL = re.compile(r"(sqlite|postgresql|mysql|mariadb)(\+\w+)?://.+")
FILE = "study.db"
DESIGN = "design"
BUSY_S = 60
"""Seconds that SQLite waits for another process, such as a dashboard, to leave the file alone."""


def load_optuna() -> Any:
    """Import Optuna, told to be quiet. Raises UserError where it is missing."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError("frostline tune needs Optuna; install it with: pip install 'frostline[optuna]'.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_study(search: Search, folder: Path) -> "optuna.Study":
    """Return a search's study, begun or gone on with; `force=true` begins it anew.

    Raises UserError for a storage that cannot be used, and for a study of the same name that is another.
    """
    optuna = load_optuna()
    with explaining_storage(find_storage_url(search, folder), make_mask({"storage": search.node.storage})):
        return _open(optuna, search, make_storage(search, folder))


def _open(optuna: Any, search: Search, storage: "optuna.storages.RDBStorage") -> "optuna.Study":
    known = {one.study_name for one in storage.get_all_studies()}
    if search.config.force and search.name in known:
        optuna.delete_study(study_name=search.name, storage=storage)
    study = optuna.create_study(
        storage=storage,
        study_name=search.name,
        direction=search.direction,
        pruner=make_pruner(search),
        load_if_exists=True,
    )
    design = search.digest()
    if study.user_attrs.get(DESIGN, None if study.get_trials(deepcopy=False) else design) != design:
        raise UserError(
            f"tune.name: {search.name!r} is the name of another study, with another space or other settings; "
            "choose another name, or begin it anew with force=true."
        )
    study.set_user_attr(DESIGN, design)
    return study


def make_storage(search: Search, folder: Path) -> "optuna.storages.RDBStorage":
    """Return the study's database: the one of tune.storage, or a file of SQLite's in its folder.

    Raises UserError that names the key, without the login in it.
    """
    from optuna.storages import RDBStorage

    url, hide = find_storage_url(search, folder), make_mask({"storage": search.node.storage})
    if not URL.fullmatch(url):
        said = hide(url)
        raise UserError(f"tune.storage: {said!r} is no database's URL such as postgresql://user@host/name, or null.")
    arguments = {"connect_args": {"timeout": BUSY_S}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    if url.startswith("sqlite") and (what := describe_irregular(url.partition("///")[2].partition("?")[0])) is not None:
        raise make_refusal(url, f"it {what}", hide)
    try:
        with explaining_storage(url, hide):
            return RDBStorage(url, engine_kwargs=arguments)
    except (RuntimeError, ImportError) as error:  # tables of another Optuna; a driver that is missing
        raise make_refusal(url, error, hide) from error


def find_storage_url(search: Search, folder: Path) -> str:
    """Return the URL of the study's database."""
    given = search.node.storage or f"sqlite:///{(folder / FILE).resolve()}"
    return resolve_env(given, "tune.storage")


@contextmanager
def explaining_storage(url: str, hide: Callable[[str], str] = without_credentials) -> Iterator[None]:
    """Raise UserError for what the database at ``url`` refuses: it is damaged, read-only, on a full disk, or gone.

    ``hide`` masks what is said.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise make_refusal(url, error.__cause__ or error, hide) from error


def make_refusal(url: str, why: object, hide: Callable[[str], str] = without_credentials) -> UserError:
    """Return the error for a database that cannot be used, without the login in its URL."""
    reason = hide(str(why).strip().splitlines()[0])
    return UserError(f"tune.storage: {hide(url)} cannot be used ({reason}).")


def make_sampler(search: Search, number: int) -> "optuna.samplers.BaseSampler":
    """Return the sampler for one trial, seeded by its number: a study that goes on proposes what it would have."""
    optuna = load_optuna()
    seed = int.from_bytes(hashlib.sha256(f"{search.seed} {number}".encode()).digest()[:4])
    startup = search.node.startup
    if search.node.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    if search.node.sampler == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    return optuna.samplers.RandomSampler(seed=seed)


def make_pruner(search: Search) -> "optuna.pruners.BasePruner":
    """Return the pruner; it counts epochs from 1."""
    pruners, node = load_optuna().pruners, search.node
    least, factor, most = node.min_epochs, node.factor, search.config.epochs
    if node.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=node.startup, n_warmup_steps=least)
    if node.pruner == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)
    if node.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=factor)
    return pruners.NopPruner()
