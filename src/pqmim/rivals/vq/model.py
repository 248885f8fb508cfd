"""Vanilla VQ-VAE (van den Oord, Vinyals and Kavukcuoglu 2017) on the project's transforms: one codeword a position.

::

    image ── analysis ──► z (B, C, h, w) ── projection ──► (B, D, h, w) ── nearest of K codewords ──► codes (B, h w)
                          image ◄── synthesis ◄── (B, C, h, w) ◄── projection back ◄──┘

One code stands for 16 x 16 pixels, so K decides the rate, and a model has one: log2(K) / 256 bits a pixel at most,
0.047 for K = 4096 and 0.055 for K = 16384, the largest here.  Higher rates are out of its reach: each further 0.004
bits a pixel double the codebook.  That is what product quantization is for.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.transforms import Analysis, Synthesis, TransformConfig

MOST_BITS = 14  # frequencies of 16 bits leave little for more codewords than that


@dataclass(frozen=True)
class VqConfig:
    """`2 ** bits` codewords of `dimensions`; `level` is the rate level whose gains the transforms use."""

    bits: int = 12
    dimensions: int = 64
    level: int = 4


class VanillaVq(nn.Module):
    """The codec, for training: codebook by exponential moving averages, transforms straight through it."""

    codebook: Tensor
    usage: Tensor
    typical: Tensor

    def __init__(self, transforms: TransformConfig, config: VqConfig):
        super().__init__()
        codewords = 2**config.bits
        self.level = config.level
        self.analysis, self.synthesis = Analysis(transforms), Synthesis(transforms)
        self.project = nn.Parameter(torch.eye(config.dimensions, transforms.latent))  # KLT: the leading channels
        self.restore = nn.Parameter(torch.eye(transforms.latent, config.dimensions))
        self.register_buffer("codebook", torch.zeros(codewords, config.dimensions))
        self.register_buffer("usage", torch.ones(codewords))  # EMA of how often each is used in a batch
        self.register_buffer("typical", torch.zeros(1))  # running mean of the loss

    def vectors(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), sides by 16, to vectors (B, h, w, D)."""
        return self.projected(self.analysis(image, self.levels(image)))

    def picture(self, vectors: Tensor) -> Tensor:
        """Vectors (B, h, w, D) to images (B, 3, 16 h, 16 w)."""
        z = self.lifted(vectors)
        image: Tensor = self.synthesis(z, self.levels(z))
        return image.float()

    def projected(self, z: Tensor) -> Tensor:
        """Latent (B, C, h, w) to vectors (B, h, w, D)."""
        with torch.autocast(z.device.type, enabled=False):
            return z.float().permute(0, 2, 3, 1) @ self.project.T

    def lifted(self, vectors: Tensor) -> Tensor:
        """Vectors (B, h, w, D) to a latent (B, C, h, w)."""
        with torch.autocast(vectors.device.type, enabled=False):
            return (vectors @ self.restore.T).permute(0, 3, 1, 2)

    def levels(self, batch: Tensor) -> Tensor:
        """The fixed rate level, (B,)."""
        return batch.new_full((len(batch),), self.level, dtype=torch.float32)

    @torch.no_grad()
    def assign(self, vectors: Tensor) -> Tensor:
        """Nearest codewords (N,) of vectors (N, D)."""
        energy = self.codebook.square().sum(1)
        parts = vectors.split(1024)  # bounds memory: (1024, K)
        with torch.autocast(vectors.device.type, enabled=False):  # close codewords part only in float32
            return torch.cat([(energy - 2 * part @ self.codebook.T).argmin(1) for part in parts])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean squared error (B,) and commitment (B,), both on the 0..255 scale, vectors (N, D) and codes (N,).

        A transform that starts orthonormal makes an error in the latent one in the pixels, so the commitment is the
        squared distance to the codeword over the samples of a position, 768.
        """
        vectors = self.vectors(image)  # (B, h, w, D)
        codes = self.assign(vectors.detach().flatten(0, 2))  # (N,)
        words = F.embedding(codes, self.codebook).view_as(vectors)
        restored = self.picture(vectors + (words - vectors).detach())
        restored = restored.clamp(-0.5, 255.5) if self.training else restored.round().clamp(0, 255)
        error = (restored - image).square().mean((1, 2, 3))
        commitment = (vectors - words).square().sum((1, 2, 3)) / image[0].numel()
        return error, commitment, vectors.detach().flatten(0, 2), codes

    @torch.no_grad()
    def fit(self, samples: Tensor, rounds: int, seed: int = 0) -> None:
        """Codebook by k-means (Lloyd) on vectors (N, D); a codeword that no sample is nearest to takes a random one."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(samples), generator=generator).repeat(-(-len(self.codebook) // len(samples)))
        self.codebook.copy_(samples[order[: len(self.codebook)]])
        for _ in range(rounds):
            codes = self.assign(samples)
            self._move(samples, codes, torch.zeros_like(self.usage))
            spare = (self.usage == 0).nonzero()[:, 0]
            self.codebook[spare] = samples[torch.randint(len(samples), (len(spare),), generator=generator)]
        self.usage.clamp_(min=1)

    @torch.no_grad()
    def observe(self, vectors: Tensor, codes: Tensor, decay: float) -> None:
        """EMA update of codebook and usage with a batch: vectors (N, D) and their codes (N,)."""
        self._move(vectors, codes, decay * self.usage)

    def _move(self, vectors: Tensor, codes: Tensor, weight: Tensor) -> None:
        """Move each codeword to the mean of its vectors and of itself, the latter with a `weight` (K,)."""
        count = torch.zeros_like(self.usage).index_add_(0, codes, torch.ones_like(vectors[:, 0]))
        moment = (weight[:, None] * self.codebook).index_add_(0, codes, vectors)
        self.usage.copy_(weight + count)
        self.codebook.copy_(
            torch.where(count[:, None] > 0, moment / self.usage.clamp(min=1e-9)[:, None], self.codebook)
        )

    @torch.no_grad()
    def revive(self, vectors: Tensor, dead: float = 0.5) -> int:
        """Move codewords used fewer than `dead` times of late to random vectors (N, D) of a batch.

        Returns how many moved.
        """
        spare = (self.usage < dead).nonzero()[:, 0][: len(vectors)]
        self.codebook[spare] = vectors[torch.randperm(len(vectors))[: len(spare)].to(vectors.device)]
        self.usage[spare] = 1.0
        return len(spare)
