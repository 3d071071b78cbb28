"""Scores of a classifier from all its logits at once, by torchmetrics."""

import warnings

import torch
from torch import Tensor
from torch.nn import functional

from frostline.schema import LOWER_IS_BETTER


def score(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Return every score of ``schema.METRICS`` for logits [N, classes] and labels [N].

    balanced accuracy is the mean recall over the classes that have samples, F1 the mean over those that have samples
    or predictions; AUROC is one class against the
    rest, averaged over the classes that have both; the calibration error is the expected one in 15 bins (Guo et
    al. 2017, arXiv:1706.04599). Computed once over the whole split, so that the batching changes nothing.
    """
    from torchmetrics.functional import classification as tm

    classes = logits_NC.shape[1]
    probabilities_NC = logits_NC.float().softmax(dim=-1)
    options = {"num_classes": classes, "validate_args": False}
    values = {
        "accuracy": tm.multiclass_accuracy(probabilities_NC, labels_N, average="micro", **options),
        "balanced_accuracy": _recalls(probabilities_NC, labels_N, classes).mean(),
        "f1": tm.multiclass_f1_score(probabilities_NC, labels_N, average="macro", **options),
        "auroc": _auroc(probabilities_NC, labels_N, classes),
        "calibration_error": tm.multiclass_calibration_error(probabilities_NC, labels_N, n_bins=15, **options),
        "loss": functional.cross_entropy(logits_NC.float(), labels_N),
    }
    return {name: float(value) for name, value in values.items()}


def _recalls(probabilities_NC: Tensor, labels_N: Tensor, classes: int) -> Tensor:
    """Return the recall of each class that has samples; torchmetrics' own mean counts absent ones as 0."""
    from torchmetrics.functional.classification import multiclass_recall

    each = multiclass_recall(probabilities_NC, labels_N, num_classes=classes, average="none", validate_args=False)
    return each[torch.bincount(labels_N, minlength=classes) > 0]


def _auroc(probabilities_NC: Tensor, labels_N: Tensor, classes: int) -> Tensor:
    from torchmetrics.functional.classification import multiclass_auroc

    counts = torch.bincount(labels_N, minlength=classes)
    usable = (counts > 0) & (counts < len(labels_N))
    if not usable.any():
        return torch.tensor(float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of the absent classes that are left out here
        each = multiclass_auroc(probabilities_NC, labels_N, num_classes=classes, average=None, validate_args=False)
    return torch.as_tensor(each)[usable].mean()


def confusion(logits_NC: Tensor, labels_N: Tensor) -> list[list[int]]:
    """Return the confusion matrix: a row for each true class, a column for each predicted one."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    matrix = multiclass_confusion_matrix(logits_NC.softmax(dim=-1), labels_N, num_classes=logits_NC.shape[1])
    return matrix.int().tolist()


def better(name: str, new: float, old: float | None) -> bool:
    """Return whether ``new`` beats ``old`` in the metric ``name``; a number beats none and NaN, NaN never wins."""
    if new != new:
        return False
    if old is None or old != old:
        return True
    return new < old if name in LOWER_IS_BETTER else new > old
