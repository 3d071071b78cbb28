"""What a run left behind, as an object, and the table of all runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.api.overrides import allowing_modules
from frostline.api.reports import Report, make_report
from frostline.errors import UserError
from frostline.results.store import list_records, read_record

if TYPE_CHECKING:
    import pandas

UNFINISHED = "unfinished"
"""The status of a run without a record: submitted, going on, or never begun."""


@dataclass(frozen=True)
class RunResult:
    """One run, by its ``folder``. ``allowed`` are the modules of one's own that its config may name."""

    folder: Path
    allowed: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The run's ID, 12 hexadecimal digits."""
        return self.folder.name

    @cached_property
    def record(self) -> Mapping[str, Any] | None:
        """The run's record.json; None while there is none. Raises UserError for a damaged one."""
        return read_record(self.folder)

    @property
    def status(self) -> str:
        """done, failed, diverged, pruned, paused or interrupted; unfinished while there is no record."""
        return self.record["status"] if self.record else UNFINISHED

    @property
    def reason(self) -> str | None:
        """Why the run is not done."""
        return self.record.get("reason") if self.record else None

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """The scores of each split, such as ``metrics["test"]["accuracy"]``. Raises UserError for a run not done."""
        if self.record is None or self.status != "done":
            why = f" ({self.reason})" if self.reason else ""
            raise UserError(f"{self.folder}: this run is {self.status}{why}, so it has no scores; see its log.txt.")
        return self.record["metrics"]

    @property
    def report(self) -> Report:
        """The report on this run alone, written into its folder."""
        return Report(make_report(self.folder, out=self.folder / "report"))

    def predict(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        *,
        texts: Sequence[str] = (),
        batch_size: int | None = None,
        text_column: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return what the network says of new samples, a row for each: ``sample``, ``prediction``, ``probabilities``.

        ``paths`` are files and folders, as `frostline predict` takes them; ``texts`` are texts themselves, for a
        network that reads text. The network is made in this process. Raises UserError for a run that is not done, and
        for samples that cannot be read, naming them.
        """
        from frostline.api.predictions import predict_samples

        given = [paths] if isinstance(paths, str | os.PathLike) else paths
        with allowing_modules(self.allowed):
            return predict_samples(self.folder, [os.fspath(one) for one in given], texts, batch_size, text_column)

    def __repr__(self) -> str:
        return f"<run {self.id}: {self.status}; {self.folder}>"


def records(outputs: str | os.PathLike[str] = "outputs") -> "pandas.DataFrame":
    """Return a table of all runs of an output folder, the newest first, one row each.

    ``id``, ``status``, ``reason``, ``written`` and ``folder`` come first; then what stands in the records, by dotted
    names: ``metrics.test.accuracy``, ``cost.seconds``, ``epochs``, ``config.freeze._target_``, ``config.seed``. A run
    without a record is ``unfinished``, one whose record cannot be read ``damaged``. Raises UserError where there is no
    such folder, and without pandas.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UserError("frostline.records needs pandas; install it with: pip install 'frostline[pandas]'.") from error
    folder = Path(outputs)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give the output folder, such as outputs.")
    rows = []
    for name, written, record in list_records(folder) if (folder / "runs").is_dir() else ():
        row = {"id": name, "status": UNFINISHED, "reason": None, "written": datetime.fromtimestamp(written)}
        row["folder"] = str(folder / "runs" / name)
        if isinstance(record, Exception):
            row |= {"status": "damaged", "reason": str(record)}
        elif record is not None:
            row |= {"status": record["status"], "reason": record.get("reason"), "epochs": record.get("epochs")}
            row |= {key: record.get(key) for key in ("metrics", "cost", "config")}
        rows.append(row)
    return pandas.json_normalize(rows) if rows else pandas.DataFrame(columns=["id", "status", "reason", "written"])
