"""Mean-scale hyperprior (Minnen, Balle and Toderici 2018, without its autoregressive part) on the project's transforms.

::

    image ── analysis ──► z ── x gain ──► y (B, C, h, w), in quantization steps
        y ── hyper-analysis ──► hyper-latent (B, N, h/4, w/4), rounded, static density of each channel and level
             hyper-synthesis ──► mean and scale of each element of y
    round(y - mean) + mean ── x step ──► synthesis ──► image

Two choices are the project's: the conditional density is logistic where the paper has Gaussians, for its gradient does
not vanish at outliers; and the synthesis sees rounded latents, straight-through, while uniform noise stands for
rounding in the rate alone (see `models.proxy`).  One model serves all lambdas, by gains, as ours does.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.proxy import ScalarProxy
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, blend
from pqmim.rivals.tables import LEAST_SCALE, MOST_SCALE

STRIDE = 4  # latent positions a hyper-latent position spans on each side


@dataclass(frozen=True)
class HyperpriorConfig:
    """Channels of the hidden layers, and of the hyper-latent."""

    hidden: int = 128
    hyper_latent: int = 96


@dataclass(frozen=True)
class Coded:
    """What pictures become: decoded (B, 3, H, W), clipped; bits a sample (B,); decoded latents (B, C, h, w) in steps."""

    image: Tensor
    bits: Tensor
    latent: Tensor


class HyperAnalysis(nn.Module):
    """Latent in quantization steps (B, C, h, w) to hyper-latent (B, N, ceil(h / 4), ceil(w / 4))."""

    def __init__(self, channels: int, levels: int, config: HyperpriorConfig):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(levels, config.hidden))
        self.first = nn.Conv2d(channels, config.hidden, 3, padding=1)
        self.second = nn.Conv2d(config.hidden, config.hidden, 5, stride=2, padding=2)
        self.last = nn.Conv2d(config.hidden, config.hyper_latent, 5, stride=2, padding=2)
        for layer in (self.first, self.second, self.last):
            nn.init.kaiming_normal_(layer.weight)  # or all of the hyper-latent would round to zero at the start

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        """Hyper-latent of a latent (B, C, h, w) at levels (B,)."""
        h = self.first(torch.asinh(y)) * blend(self.gain, level)  # asinh: y spans from 0.01 steps to a hundred
        hyper: Tensor = self.last(F.silu(self.second(F.silu(h))))
        return hyper


class HyperSynthesis(nn.Module):
    """Hyper-latent (B, N, h', w') to mean and scale (B, C, 4 h', 4 w') each, in quantization steps.

    Both are told relative to a static mean and scale of each channel and level, with which they start.
    """

    def __init__(self, channels: int, levels: int, config: HyperpriorConfig):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(levels, config.hidden))
        self.first = nn.Conv2d(config.hyper_latent, 4 * config.hidden, 3, padding=1)
        self.second = nn.Conv2d(config.hidden, 4 * config.hidden, 3, padding=1)
        self.third = nn.Conv2d(config.hidden, config.hidden, 3, padding=1)
        self.last = nn.Conv2d(config.hidden, 2 * channels, 1)
        self.mean = nn.Parameter(torch.zeros(levels, channels))
        self.log_scale = nn.Parameter(torch.zeros(levels, channels))
        for layer in (self.first, self.second, self.third):
            nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, hyper: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of the latent, of a hyper-latent (B, N, h', w') at levels (B,)."""
        h = F.silu(F.pixel_shuffle(self.first(hyper), 2))
        h = F.silu(F.pixel_shuffle(self.second(h), 2) * blend(self.gain, level))
        h = F.silu(self.third(h))
        with torch.autocast(h.device.type, enabled=False):  # 8 bits of mantissa do not hold a mean of 100.5 steps
            mean, scale = self.last(h.to(self.last.weight.dtype)).chunk(2, 1)
        log_scale = blend(self.log_scale, level)
        mean = blend(self.mean, level) + log_scale.exp() * mean
        return mean, LEAST_SCALE + (log_scale + scale).clamp(max=math.log(MOST_SCALE)).exp()


class MeanScaleHyperprior(nn.Module):
    """The codec, for training: analysis, hyperprior and synthesis, for as many rate levels as `lambdas` (L,)."""

    lambdas: Tensor
    typical: Tensor

    def __init__(self, transforms: TransformConfig, config: HyperpriorConfig, lambdas: Tensor):
        super().__init__()
        channels, levels = transforms.latent, transforms.levels
        self.analysis, self.synthesis = Analysis(transforms), Synthesis(transforms)
        self.log_gain = nn.Parameter(torch.zeros(levels, channels))
        self.log_step = nn.Parameter(torch.zeros(levels, channels))
        self.hyper_analysis = HyperAnalysis(channels, levels, config)
        self.hyper_synthesis = HyperSynthesis(channels, levels, config)
        self.hyper = ScalarProxy(config.hyper_latent, levels)  # quantizer and static density of the hyper-latent
        self.register_buffer("lambdas", lambdas)
        self.register_buffer("typical", torch.zeros(levels))  # running mean of each level's loss
        with torch.no_grad():
            self.hyper.log_width.add_(torch.tensor([0.25, 0.6, 1.2]).log()[:, None, None])  # or all three stay the same

    @torch.no_grad()
    def start(self, analysis: Analysis, synthesis: Synthesis, proxy: ScalarProxy) -> None:
        """Take over what a scalar proxy learned: transforms, steps, and its densities as static mean and scale."""
        self.analysis.load_state_dict(analysis.state_dict())
        self.synthesis.load_state_dict(synthesis.state_dict())
        self.log_gain.copy_(proxy.log_gain)
        self.log_step.copy_(proxy.log_step)
        weight = proxy.weight.softmax(0)  # (3, L, C)
        mean = (weight * proxy.mean).sum(0)
        square = (weight * (proxy.mean.square() + proxy.log_width.exp().square() * math.pi**2 / 3)).sum(0)
        scale = (3 * (square - mean.square())).sqrt() / math.pi  # of the logistic density with that variance
        self.hyper_synthesis.mean.copy_(mean)
        self.hyper_synthesis.log_scale.copy_((scale - LEAST_SCALE).clamp(min=LEAST_SCALE / 4).log())

    def scaled(self, z: Tensor, level: Tensor) -> Tensor:
        """Latent (B, C, h, w) in quantization steps."""
        return z.float() * blend(self.log_gain, level).exp()

    def restored(self, y: Tensor, level: Tensor) -> Tensor:
        """Inverse of `scaled`, up to what `log_step` learned."""
        return y.float() * blend(self.log_step, level).exp()

    def expected(self, hyper: Tensor, level: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Mean and scale (B, C, height, width) each, given the rounded hyper-latent (B, N, h', w')."""
        mean, scale = self.hyper_synthesis(self.hyper.dequantize(hyper, level), level)
        return mean[..., :height, :width], scale[..., :height, :width]

    def forward(self, image: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error (B,) on the 0..255 scale and bits a sample (B,) of images (B, 3, H, W), sides by 16.

        In evaluation mode both are those of a file: no noise, and pixels are whole numbers.
        """
        coded = self.coded(image, level)
        return (coded.image - image).square().mean((1, 2, 3)), coded.bits

    def coded(self, image: Tensor, level: Tensor) -> Coded:
        """What images become."""
        y = self.scaled(self.analysis(image, level), level)  # (B, C, h, w)
        hyper, rounded = self.hyper.quantize(self.hyper_analysis(y, level), level)  # (B, N, h', w')
        mean, scale = self.expected(rounded, level, *y.shape[2:])
        residual = y - mean
        nearest = residual + (residual.round() - residual).detach()
        bits = self.hyper.bits(self._rated(hyper, rounded), level).sum((1, 2, 3))
        bits = bits + logistic_bits(self._rated(residual, nearest), scale).sum((1, 2, 3))
        restored = self.synthesis(self.restored(nearest + mean, level), level).float()
        clipped = restored.clamp(-0.5, 255.5) if self.training else restored.round().clamp(0, 255)
        return Coded(clipped, bits / image[0].numel(), nearest + mean)

    def _rated(self, value: Tensor, rounded: Tensor) -> Tensor:
        """What the rate is taken of: noise stands for rounding where the rate needs a gradient."""
        return value + torch.rand_like(value) - 0.5 if self.training else rounded


def logistic_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Bits of the unit interval around `value` under a logistic density of mean 0 and `scale`, of one shape.

    With a = (value + 0.5) / scale and b = (value - 0.5) / scale, sigmoid(a) - sigmoid(b) is
    sigmoid(a) sigmoid(-b) (1 - exp(b - a)), whose logarithm is exact however far out the value lies.
    """
    distance = value.abs()
    upper, lower = (0.5 - distance) / scale, (-0.5 - distance) / scale
    return -(F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log1p(-torch.exp(-1 / scale))) / math.log(2)
