"""From a user's labels, numbers, texts or rows of 0 and 1, to the texts that a task reads."""

from collections.abc import Sequence

from frostline.data.own.samples import Label
from frostline.errors import UserError
from frostline.tasks.base import Task


def find_task(labels: Sequence[Label]) -> str:
    """Return the name of the task that labels are for. Raises UserError for a mixture.

    Texts and whole numbers are classes, other numbers are targets of regression, rows of 0 and 1 several classes each.
    """
    if all(isinstance(label, str | int) for label in labels):
        return "multiclass"
    if all(isinstance(label, int | float) for label in labels):
        return "regression"
    if all(isinstance(label, list) and set(label) <= {0, 1} for label in labels):
        return "multilabel"
    raise UserError(
        "data: the labels are of no one kind; expected whole numbers or texts (classes), other numbers (regression), "
        "or rows of 0 and 1 (several classes each)."
    )


def format_labels(labels: Sequence[Label], task: Task, classes: Sequence[str] | None) -> list[str]:
    """Return labels as a task reads them. Raises UserError for another task's, and for a class without a name."""
    kind = find_task(labels)
    if kind == "multilabel":
        if task.name != "multilabel":
            raise UserError(
                f"data: the labels are rows of 0 and 1, of task=multilabel; they do not fit task={task.name}."
            )
        names = classes or [
            str(place) for place in range(max(len(label) for label in labels if isinstance(label, list)))
        ]
        separator = task.separator  # type: ignore[attr-defined]
        return [separator.join(_class_name(place, names) for place, one in enumerate(row) if one) for row in labels]  # type: ignore[arg-type]
    if kind == "regression" and task.name != "regression":
        raise UserError(
            f"data: the labels are numbers such as {labels[0]!r}, of task=regression; task={task.name} is set."
        )
    if task.name == "multilabel":
        raise UserError("data: the labels are single ones; expected rows of 0 and 1 for task=multilabel.")
    if classes is None or task.name == "regression":
        return [str(label) for label in labels]
    return [_class_name(label, classes) if isinstance(label, int) else str(label) for label in labels]


def _class_name(place: int, classes: Sequence[str]) -> str:
    if not 0 <= place < len(classes):
        raise UserError(
            f"data.classes: there is a label {place} and {len(classes)} names; expected one for each class."
        )
    return classes[place]
