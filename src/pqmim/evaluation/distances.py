"""Distances between two sets of pictures, by features of their patches: Fréchet and kernel distances, over photos.

Patches are cut as in HiFiC (Mentzer et al. 2020). The kernel distance is unbiased, so that figures from few patches are
right in the mean; `kernel_distance` is that of KID, which takes the two sets for independent. A decoded patch is not
independent of its original, and patches of a photo are not of each other, which pulls that figure down, below 0 where
little was lost. `KernelSums` therefore counts pairs of patches from different photos alone: it is unbiased over photos.
The Fréchet distance is biased: of fewer patches than features its covariances have no full rank, and it compares only
with figures of the same photos. Figures are named for the network whose features they are of, as in KD-MobileNetV2;
those of Inception alone are KID and FID.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PATCH = 256  # pixels a side
SHIFT = PATCH // 2  # of the second grid, where both sides leave room for it

Features = NDArray[np.floating]
Weights = NDArray[np.int64]


def patches(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Patches (n, 256, 256, 3) of a picture (H, W, 3): a grid without overlap, then one shifted by 128 both ways.

    The shifted grid needs sides of 384 or more. A picture of 768x512 gives 6 and 2 patches.
    """
    height, width = rgb.shape[:2]
    starts = [0, SHIFT] if min(height, width) >= PATCH + SHIFT else [0]
    found = [
        rgb[top : top + PATCH, left : left + PATCH]
        for start in starts
        for top in range(start, height - PATCH + 1, PATCH)
        for left in range(start, width - PATCH + 1, PATCH)
    ]
    return np.stack(found) if found else np.zeros((0, PATCH, PATCH, 3), np.uint8)


def frechet_distance(x: Features, y: Features) -> float:
    """The Fréchet distance of the Gaussians with the means and covariances of two sets of features (n, D), (m, D).

    The trace of the root of the product of the covariances is the sum of the singular values of the product of the
    centred sets, so no root of a (D, D) matrix is taken, and sets smaller than D cost less. NaN where a set has fewer
    than two vectors, and so no covariance.
    """
    x, y = (np.asarray(features, np.float64) for features in (x, y))
    if min(len(x), len(y)) < 2:
        return math.nan
    means = x.mean(0), y.mean(0)
    a, b = (x - means[0]) / np.sqrt(len(x) - 1), (y - means[1]) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(np.square(means[0] - means[1]).sum() + np.square(a).sum() + np.square(b).sum() - 2 * cross)


def kernel_distance(x: Features, y: Features) -> float:
    """KID's unbiased squared maximum mean discrepancy of two independent sets of features (n, D), (m, D)."""
    within = 0.0
    for features in (x, y):
        values = _kernel(features, features)
        within += float((values.sum() - np.trace(values)) / (len(values) * (len(values) - 1)))
    return within - 2 * float(_kernel(x, y).mean())


@dataclass(frozen=True)
class KernelSums:
    """The kernel distance between pictures and their decoded forms, over photos (see the module).

    With h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), it is the mean of h over the pairs of patches
    from different photos: the U-statistic of Gretton et al. 2012, of photos.
    """

    pairs: NDArray[np.float64]  # (P, P), h summed over the patches of each pair of photos
    counts: NDArray[np.int64]  # (P,) patches of each photo

    @classmethod
    def of(cls, x: Features, y: Features, photos: NDArray[np.int64], count: int | None = None) -> "KernelSums":
        """The sums of two sets of features (n, D) of the same patches, which belong to `photos` (n,), from 0 on.

        There are `count` photos; where it is None, the last one has a patch.
        """
        member = np.zeros((int(photos.max()) + 1 if count is None else count, len(photos)))
        member[photos, np.arange(len(photos))] = 1
        between = _kernel(x, y)
        values = _kernel(x, x) + _kernel(y, y) - between - between.T
        return cls(member @ values @ member.T, np.bincount(photos, minlength=len(member)))

    def distance(self, weights: Weights | None = None) -> float:
        """The distance; it may be a little below 0. NaN where there are not two photos.

        Args:
            weights: How often each photo counts, (P,); None: once. Two copies of a photo are no pair of photos.
        """
        w = np.ones(len(self.counts)) if weights is None else weights.astype(np.float64)
        among = np.outer(w, w)
        np.fill_diagonal(among, 0)
        pairs = (among * np.outer(self.counts, self.counts)).sum()
        return float((among * self.pairs).sum() / pairs) if pairs else math.nan


def _kernel(a: Features, b: Features) -> NDArray[np.float64]:
    """KID's kernel (Binkowski et al. 2018), (n, m)."""
    values = np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / a.shape[1]
    return np.asarray((values + 1) ** 3)


def draws(photos: int, count: int, seed: int = 0) -> Iterator[Weights]:
    """Bootstrap over photos: how often each is drawn, (photos,), in `count` draws with replacement from a seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield np.bincount(rng.integers(0, photos, photos), minlength=photos)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of bootstrapped values."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
