"""Distortion between two 8-bit pictures."""

import math

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3)
Plane = NDArray[np.float64]  # (H, W)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
MS_SSIM_MIN_SIDE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # 161: the coarsest scale still holds a window


def psnr(a: Rgb, b: Rgb) -> float:
    """Peak signal-to-noise ratio in dB over all the samples of two uint8 pictures of one shape; inf where equal."""
    _check_shapes(a, b)
    error = np.mean(np.square(a.astype(np.float64) - b))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ms_ssim(a: Rgb, b: Rgb) -> float:
    """Multi-scale structural similarity of two uint8 pictures (H, W, 3): at most 1, for equal pictures.

    The channels' mean of the measure of Wang, Simoncelli and Bovik, "Multiscale structural similarity for image
    quality assessment" (2003): five scales, 11x11 Gaussian window of sigma 1.5, windows inside the picture only,
    each scale the 2x2 means of the one before (an odd side repeats its last row or column). A negative mean of a
    scale counts as 0, since it is raised to a fraction. Raises ValueError where a side is shorter than 161.
    """
    _check_shapes(a, b)
    if min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"MS-SSIM needs sides of {MS_SSIM_MIN_SIDE} pixels or more, not {a.shape[1]}x{a.shape[0]}.")
    return float(np.mean([_ms_ssim_channel(a[..., c], b[..., c]) for c in range(a.shape[2])]))


def ms_ssim_db(value: float) -> float:
    """MS-SSIM on a scale where near-perfect values differ visibly: -10 log10(1 - value)."""
    return math.inf if value >= 1 else -10 * math.log10(1 - value)


def colour_error(a: Rgb, b: Rgb, shrink: int = 16) -> float:
    """Mean CIEDE2000 difference of two uint8 sRGB pictures (H, W, 3), `shrink` times smaller each way: their colours.

    About 1 is just seen side by side. Needs scikit-image.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    _check_shapes(a, b)
    first, second = (rgb2lab(_shrunk(picture, shrink)) for picture in (a, b))
    return float(np.mean(deltaE_ciede2000(first, second)))  # type: ignore[no-untyped-call]


def _shrunk(rgb: Rgb, factor: int) -> NDArray[np.float64]:
    """Means over squares of pixels, (h, w, 3) from 0 to 1; what does not fill a square repeats the border."""
    padded = np.pad(rgb, [(0, -side % factor) for side in rgb.shape[:2]] + [(0, 0)], mode="edge")
    height, width = (side // factor for side in padded.shape[:2])
    return np.asarray(padded.reshape(height, factor, width, factor, 3).mean((1, 3)) / 255)


def _ms_ssim_channel(a: Rgb, b: Rgb) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)  # (H, W)
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, contrast_structure = _similarities(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        mean = float(np.mean(luminance * contrast_structure if last else contrast_structure))
        product *= max(mean, 0.0) ** weight
    return product


def _similarities(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Maps (H - 10, W - 10) of the luminance term and of contrast times structure."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    products, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _window_mean(x * y) - products
    variances = _window_mean(x**2 + y**2) - squares
    return (2 * products + c1) / (squares + c1), (2 * covariance + c2) / (variances + c2)


def _window_mean(x: Plane) -> Plane:
    """Gaussian means (H - 10, W - 10) over the windows inside (H, W): down the columns, then along the rows."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    height, width = x.shape[0] - WINDOW + 1, x.shape[1] - WINDOW + 1
    columns = np.sum([tap * x[i : i + height] for i, tap in enumerate(kernel)], axis=0)
    return np.asarray(np.sum([tap * columns[:, i : i + width] for i, tap in enumerate(kernel)], axis=0))


def _halve(x: Plane) -> Plane:
    x = np.pad(x, [(0, side % 2) for side in x.shape], mode="edge")
    return np.asarray((x[0::2, 0::2] + x[1::2, 0::2] + x[0::2, 1::2] + x[1::2, 1::2]) / 4)


def _check_shapes(a: Rgb, b: Rgb) -> None:
    if a.shape != b.shape:
        raise ValueError(f"Only pictures of one shape can be compared, not {a.shape} and {b.shape}.")
