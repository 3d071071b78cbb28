"""NLEEP: how well clusters of the features tell the classes (Li et al. 2021, arXiv:2011.11200)."""

import warnings

import torch
from torch import Tensor

from frostline.profiles.score import Score, decompose, find_classes, find_fault, has_classes

COMPONENTS = 5  # of the mixture, for each class
VARIANCE = 0.8  # that the principal components keep
FEWEST = 2  # samples for each component
LEAST = 1e-3  # of a Gaussian's variances, of which the mean of all samples is 1


def score_nleep(features_ND: Tensor, labels: Tensor, seed: int = 0) -> Score:
    """Return the mean log probability of a sample's class that its cluster gives; 0 at best.

    The features' principal components, as many as keep 80% of the variance, are taken as a mixture of 5 Gaussians for
    each class, and LEEP is computed on the mixture's posteriors instead of a source model's classes. Features are
    divided by one number first, so that scaling them changes nothing. The Gaussians' axes are the components' (a
    diagonal covariance), where published code takes whole ones: a Gaussian has too few samples for those, and they
    take longer by as much as there are components. Of 7 depths of EfficientNet-Lite0 both gave the same order on
    mnist5k, and on digits but for one pair of neighbours. None without classes, where no feature varies, and where
    there are fewer than two samples for a Gaussian: a cluster of one sample tells its class by itself.
    """
    why = find_fault(features_ND, labels)
    if why is None and not has_classes(labels):
        why = "NLEEP takes one class for each sample."
    if why is not None:
        return Score(None, why)
    places_N, counts_C = find_classes(labels.to(features_ND.device))
    components = COMPONENTS * len(counts_C)
    reduced_NK = reduce_features(features_ND)
    if not reduced_NK.shape[1]:
        return Score(None, "No feature varies.")
    different = len(features_ND.unique(dim=0))
    if different < FEWEST * components:
        samples = f"{different} different samples are too few for {components} Gaussians"
        return Score(None, f"{samples}, {COMPONENTS} for each class: they take {FEWEST * components}.")
    posteriors_NZ = _cluster(reduced_NK, components, seed)
    joint_CZ = torch.nn.functional.one_hot(places_N, len(counts_C)).double().T.to(posteriors_NZ) @ posteriors_NZ
    given_CZ = joint_CZ / joint_CZ.sum(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    said_N = (given_CZ[places_N.to(posteriors_NZ.device)] * posteriors_NZ).sum(dim=1)
    return Score(float(said_N.log().mean()))


def reduce_features(features_ND: Tensor) -> Tensor:
    """Return the principal components that keep 80% of the variance [N, K], all divided by one number.

    Their mean variance is 1 then, whatever the features' scale.
    """
    spectrum = decompose(features_ND, centred=True)
    shares_K = spectrum.squares.cumsum(dim=0) / spectrum.squares.sum()
    count = min(int((shares_K < VARIANCE).sum()) + 1, len(shares_K))
    reduced_NK = spectrum.coordinates(features_ND, count)
    return reduced_NK / reduced_NK.square().mean().sqrt() if count else reduced_NK


def _cluster(features_NK: Tensor, components: int, seed: int) -> Tensor:
    """Return the probability of each Gaussian of a mixture for each sample [N, components]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(components, covariance_type="diag", reg_covar=LEAST, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that still moves a little tells classes as well
        found = mixture.fit(features_NK.cpu().numpy()).predict_proba(features_NK.cpu().numpy())
    return torch.from_numpy(found)
