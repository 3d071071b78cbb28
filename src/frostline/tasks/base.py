"""What every task offers: labels as tensors, a loss, scores, and predictions for people to read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor

from frostline.errors import UserError
from frostline.tasks.declarations import Declaration

Outputs = Tensor | tuple[Tensor, Tensor]
"""What a head gives for a batch: [B, width], or sequences: a ``Ragged`` of values [B, T, width] and lengths [B]."""


SolverKind = Literal["multinomial", "one_vs_rest", "ridge"]
"""How a linear head is solved: one class a sample, any number of classes a sample, or numbers."""


class Answer(NamedTuple):
    """The answer for one sample: a class, several of them, a number or a text; and the probability of each class."""

    prediction: str | float | list[str]
    probabilities: dict[str, float]


class Task(ABC):
    """What is asked of the labels. Data, training and testing use the same object; only ``fit`` changes it.

    ``declaration`` has its name and its scores. ``solver`` is how a linear head is solved; None: only
    by gradient steps. ``fewest`` is the least number of classes.
    ``blank`` says whether a label may be an empty text. ``is_sequence`` says whether a label is a sequence: the head
    then answers for each frame, and no sample may be cut.
    """

    declaration: ClassVar[Declaration]
    solver: SolverKind | None = None
    fewest: ClassVar[int] = 0
    blank: ClassVar[bool] = False
    is_sequence: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Its name, as in ``task=NAME``."""
        return self.declaration.name

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of ``scores``."""
        return self.declaration.names

    @property
    def running(self) -> str:
        """The name of the score that ``hits`` adds up while training."""
        return self.declaration.running

    def members(self, label: str) -> list[str]:
        """Return the classes that a sample's label names; none where a task has no classes."""
        return []

    def classes(self, labels: Sequence[str], known: Sequence[str] | None = None) -> list[str]:
        """Return the classes of the training labels in their order: by number where all are numbers, else by name.

        ``known`` are those of a reader that knows its labels and their order: a folder, a data set's own list.
        """
        found = {member for label in labels for member in self.members(label)}
        numbers = all(one.isascii() and one.isdigit() for one in found)
        return sorted(found, key=lambda one: (int(one), one)) if numbers else sorted(found)

    def steps(self, label: str) -> int:
        """Return how many steps of a sequence a label takes at least: 0 where a sample has one answer."""
        return 0

    def strata(self, labels: Sequence[str]) -> list[str] | None:
        """Return the stratum of each sample, by which splits and subsets are drawn; None: from all samples alike."""
        return None

    @abstractmethod
    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
        """Return the labels of one split as a tensor [N, ...]. Raises UserError for an invalid label."""

    def fit(self, labels: Tensor, classes: Sequence[str]) -> None:  # noqa: B027
        """Take what the task has to know from the encoded training labels, once, before anything trains."""

    def known(self) -> dict[str, Any]:
        """Return what ``fit`` took, as JSON has it, for the record."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what a record says of the task: what it declares, and what ``fit`` took."""
        return {
            "name": self.name,
            "metrics": list(self.metrics),
            "declaration": self.declaration.plain(),
            **self.known(),
        }

    def remember(self, known: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore what ``fit`` took from what ``known`` returned then: a record has it where the data are gone."""

    def explain_outputs(self) -> dict[str, Any]:
        """Return what a program without Frostline must know to make answers of outputs, as JSON has it."""
        return self.known()

    def targets(self, labels: Tensor) -> Tensor:
        """Return what a solver fits the outputs to."""
        return labels

    def importance(self, labels: Tensor) -> Tensor | None:
        """Return how much each sample counts in the loss [N], or each of its outputs [N, width]; None: all alike."""
        return None

    def draws(self, labels: Tensor) -> Tensor:
        """Return how often each sample [N] is drawn, in proportion, where ``data.balanced`` asks for it."""
        raise UserError(f"data.balanced: task={self.name} has no classes to balance; use false.")

    @abstractmethod
    def width(self, classes: Sequence[str]) -> int:
        """Return how many outputs the head has."""

    @abstractmethod
    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the loss to train on: a scalar, the mean over the batch."""

    def deviance(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of dense outputs without what only helps training, such as label smoothing.

        It is the score ``loss``, and a solver chooses its penalty by it.
        """
        return self.loss(outputs, labels)

    @abstractmethod
    def hits(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the score ``running`` of a batch: a scalar, summed over its samples, cheap and without gradient."""

    def dense(self, outputs: Outputs) -> Tensor:
        """Return what is kept of a batch's outputs, as float [B, ...]; NaN beyond the lengths of sequences."""
        assert isinstance(outputs, Tensor)
        return outputs.float()

    @abstractmethod
    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return every score of ``metrics`` for the dense outputs [N, ...] and labels of a whole split."""

    @abstractmethod
    def answers(self, classes: Sequence[str], outputs: Tensor) -> Iterator[Answer]:
        """Yield the answer for each sample of the dense outputs [N, ...]."""

    def cells(self, answer: Answer) -> dict[str, str]:
        """Return an answer as the cells of a table: ``prediction``, and a probability for each class."""
        said = answer.prediction
        each = {f"p({name})": f"{value:.6g}" for name, value in answer.probabilities.items()}
        return {"prediction": digits(said) if isinstance(said, float) else said, **each}  # type: ignore[dict-item]

    @abstractmethod
    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: Tensor, outputs: Tensor
    ) -> Iterator[dict[str, Any]]:
        """Yield each sample's row of predictions.csv: ``sample``, ``label``, ``prediction``, and what else helps."""

    def confusion(self, outputs: Tensor, labels: Tensor) -> list[list[int]]:
        """Return a row for each true class and a column for each predicted one; nothing where that means nothing."""
        return []

    def worst(self, outputs: Tensor, labels: Tensor, most: int) -> list[tuple[int, dict[str, float]]]:
        """Return the ``most`` predictions that are most wrong, the worst first: their index and how wrong they are.

        That is ``probability``, the one given to a wrong class, or ``error`` in whatever the task counts.
        """
        return []


def digits(value: float) -> str:
    """Return a number as the shortest text from which it is read back exactly."""
    return repr(value).removesuffix(".0")
