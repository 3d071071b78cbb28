"""The losses that are minimised, with the derivatives that Newton's method asks for, for many problems at once."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Evaluation(NamedTuple):
    """What a loss is at the outputs of B problems for n samples, each counted by its share.

    ``loss`` [B] in double precision; ``residual`` [B, C, n], its derivative by the outputs; ``bend`` [B, C], the sum
    over samples of its second derivatives by each output.
    """

    loss: Tensor
    residual: Tensor
    bend: Tensor


class Loss(ABC):
    """A convex loss of outputs [B, C, n] and targets, of which share_Bn of each sample count."""

    @abstractmethod
    def evaluate(self, outputs: Tensor, targets: Tensor, share_Bn: Tensor) -> Evaluation:
        """Return the loss and its derivatives; ``outputs`` become the state that `bend_outputs` needs."""

    @abstractmethod
    def bend_outputs(self, state: Tensor, direction: Tensor, share_Bn: Tensor) -> Tensor:
        """Return the second derivative times a direction [B, C, n], which may be overwritten."""

    def choose_targets(self, targets: Tensor, problems: Tensor) -> Tensor:
        """Return the targets of some of the problems."""
        return targets[problems]


class CrossEntropy(Loss):
    """Multinomial logistic regression, C > 2; targets are classes [n], the same for all problems."""

    def evaluate(self, outputs: Tensor, targets: Tensor, share_Bn: Tensor) -> Evaluation:
        places = targets.expand(len(outputs), 1, -1)
        top = outputs.amax(dim=1, keepdim=True)
        outputs -= top
        true_Bn = outputs.gather(1, places)[:, 0]
        state = outputs.exp_()
        total = state.sum(dim=1, keepdim=True)
        state /= total
        share = share_Bn[:, None]
        loss_B = ((total[:, 0].log() - true_Bn) * share_Bn).sum(dim=1, dtype=torch.float64)
        residual = state * share
        bend = (residual - residual * state).sum(dim=2)
        residual.scatter_add_(1, places, -share)
        return Evaluation(loss_B, residual, bend)

    def bend_outputs(self, state: Tensor, direction: Tensor, share_Bn: Tensor) -> Tensor:
        direction *= state
        direction -= state * direction.sum(dim=1, keepdim=True)
        direction *= share_Bn[:, None]
        return direction

    def choose_targets(self, targets: Tensor, problems: Tensor) -> Tensor:
        return targets


class Logistic(Loss):
    """Logistic regression with one output, C = 1; targets are 0 or 1 [B, n]."""

    def evaluate(self, outputs: Tensor, targets: Tensor, share_Bn: Tensor) -> Evaluation:
        logits_Bn = outputs[:, 0]
        loss_Bn = functional.softplus(logits_Bn) - targets * logits_Bn
        loss_B = (loss_Bn * share_Bn).sum(dim=1, dtype=torch.float64)
        probability_Bn = logits_Bn.sigmoid()
        torch.mul(probability_Bn * (1 - probability_Bn), share_Bn, out=logits_Bn)
        return Evaluation(loss_B, ((probability_Bn - targets) * share_Bn)[:, None], outputs.sum(dim=2))

    def bend_outputs(self, state: Tensor, direction: Tensor, share_Bn: Tensor) -> Tensor:
        direction *= state
        return direction


class Squares(Loss):
    """Half the squared error of one output, C = 1; targets are numbers [B, n]."""

    def evaluate(self, outputs: Tensor, targets: Tensor, share_Bn: Tensor) -> Evaluation:
        error_Bn = outputs[:, 0] - targets
        loss_B = (error_Bn.square() * share_Bn).sum(dim=1, dtype=torch.float64) / 2
        outputs[:, 0] = share_Bn
        return Evaluation(loss_B, (error_Bn * share_Bn)[:, None], outputs.sum(dim=2))

    def bend_outputs(self, state: Tensor, direction: Tensor, share_Bn: Tensor) -> Tensor:
        direction *= state
        return direction
