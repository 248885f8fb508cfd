"""The vivid look: a second synthesis of the same codes that draws texture where the faithful one blurs.

The faithful synthesis gives the picture of least error, which is soft where the bytes say little. The vivid one has
the same layers, other weights, and Gaussian noise that its fine blocks may turn into texture. It is kept as a
difference to the faithful one: int8 matrices with a scale a row, so that a release grows by less than 3 MB.

::

    latent z ── coarse blocks ── split ──► (B, 192, H/8, W/8) ── fine blocks ── head ──► pixels
                                                                    ▲
                              noise (B, 16, H/8, W/8) x gain(level) ┘  added before the gate of each fine block
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from pqmim.errors import WeightsError
from pqmim.files import write_atomically
from pqmim.models.noise import CHANNELS, gaussian
from pqmim.models.transforms import PATCH, REACH, STEM, STRIDE, Block, Synthesis, TransformConfig, blend, in_strips

FINE = STRIDE // PATCH  # positions of noise along each side of a latent position
LIMIT = 127  # of an int8 entry
MATRIX = 1_000  # entries from which a tensor of two dimensions is stored as int8
METADATA = "pqmim-look"
FIRST_NOISE = 0.03  # deviation of the weights of the noise before training: small, but heard


class NoisyBlock(Block):
    """A residual block whose gate hears noise: content decides where it becomes texture."""

    def __init__(self, channels: int, expansion: float, levels: int) -> None:
        super().__init__(channels, expansion, levels)
        self.noise = nn.Parameter(FIRST_NOISE * torch.randn(len(self.expand), CHANNELS))

    def forward(self, x: Tensor, level: Tensor, noise: Tensor | None = None) -> Tensor:
        """The block's output (B, C, h, w) for an input of that shape, levels (B,) and noise (B, 16, h, w)."""
        if noise is None:
            return super().forward(x, level)
        gain = blend(self.gain, level) / self.scale[:, None, None]
        h = F.hardtanh(x * gain.to(x.dtype), -REACH, REACH)
        h = F.conv2d(h, self.depthwise, padding=1, groups=len(self.scale))
        h = F.conv2d(h, self.expand[:, :, None, None], self.bias) + F.conv2d(noise, self.noise[:, :, None, None])
        a, b = h.chunk(2, dim=1)
        return x + F.conv2d(F.silu(a) * b, (self.scale.sqrt()[:, None] * self.reduce)[:, :, None, None])


class VividSynthesis(Synthesis):
    """A synthesis with noise. Without noise it is the plain synthesis of its own weights.

    Attributes:
        noise_gain: (levels, 16) gains of the noise channels at each rate level.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__(config)
        self.fine = nn.ModuleList(
            NoisyBlock(STEM, config.expansion, config.levels) for _ in range(config.synthesis_fine)
        )
        self.noise_gain = nn.Parameter(torch.ones(config.levels, CHANNELS))

    def forward(self, z: Tensor, level: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels (B, 3, 16 h, 16 w) in 0..255, not clamped, of latents (B, C, h, w) and noise (B, 16, 2 h, 2 w)."""
        x = z.contiguous(memory_format=torch.channels_last)
        for block in self.coarse:
            x = block(x, level)
        x = F.pixel_shuffle(F.conv2d(x, self.split[:, :, None, None]), 2)  # (B, 192, 2 h, 2 w)
        x = x.contiguous(memory_format=torch.channels_last)
        if noise is not None:
            noise = (noise * blend(self.noise_gain, level)).contiguous(memory_format=torch.channels_last)
        for block in self.fine:
            x = block(x, level, noise)
        x = F.conv2d(x, self.head[:, :, None, None])
        pixels: Tensor = F.pixel_shuffle(x, PATCH) + 127.5
        return pixels  # (B, 3, H, W)


@dataclass(frozen=True)
class Look:
    """A look, ready to render.

    Attributes:
        name: of the look, such as `vivid`.
        synthesis: of the look, in evaluation mode.
        faithful: the synthesis that it is a difference to.
        strength: (levels,) how much of the difference to the faithful picture is added at each rate level, 0 to 1,
            where the dial stands at 1. Chosen on photos that no training saw.
    """

    name: str
    synthesis: VividSynthesis
    faithful: Synthesis
    strength: Tensor

    def pixels(self, z: Tensor, level: Tensor, dial: float = 1.0, seed: int = 0) -> Tensor:
        """Pixels of a picture, or of a tile of it.

        The dial is a straight line in pixels: 0 is the faithful picture bit for bit, and skips this look's synthesis.

        Args:
            z: (1, C, h, w) latent.
            level: (1,) rate level.
            dial: 0, faithful, to 1, this look.
            seed: of the noise, from 0.

        Returns:
            (1, 3, 16 h, 16 w) in 0..255, not clamped.

        Raises:
            ValueError: the dial or the seed is out of range.
        """
        if not 0 <= dial <= 1:
            raise ValueError(f"a look's dial stands from 0 to 1, not at {dial}")
        share = dial * float(blend(self.strength[:, None], level))
        if share == 0:
            return in_strips(self.faithful, z, level, 1, STRIDE)
        drawn = self.drawn(z, level, seed)
        if share == 1:
            return drawn
        return torch.lerp(in_strips(self.faithful, z, level, 1, STRIDE), drawn, share)

    def drawn(self, z: Tensor, level: Tensor, seed: int = 0, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Pixels (1, 3, 16 h, 16 w) of this look's synthesis alone, of a latent whose first position is at `origin`."""
        channels, (top, left) = z.shape[1], origin
        found = gaussian(seed, FINE * top, FINE * left, FINE * z.shape[2], FINE * z.shape[3])
        noise = F.pixel_unshuffle(torch.from_numpy(found).to(z)[None], FINE)  # (1, 64, h, w): strips cut both alike

        def synthesis(x: Tensor, level: Tensor) -> Tensor:
            pixels: Tensor = self.synthesis(x[:, :channels], level, F.pixel_shuffle(x[:, channels:], FINE))
            return pixels

        return in_strips(synthesis, torch.cat([z, noise], 1), level, 1, STRIDE)


def digest(synthesis: Synthesis) -> str:
    """What a look names the synthesis by that it belongs to: 16 hexadecimal digits of a hash of its tensors.

    Tensors count in half precision, as releases store them.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(synthesis.state_dict().items()):
        found.update(name.encode() + tensor.detach().half().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def save(path: Path, look: Look) -> int:
    """Write a look as a difference to the faithful synthesis; returns the size of the file in bytes."""
    base, tensors = look.faithful.state_dict(), {"strength": look.strength.half()}
    for name, tensor in look.synthesis.state_dict().items():
        difference = tensor.float() - base[name].float() if name in base else tensor.float()
        if tensor.ndim == 2 and tensor.numel() >= MATRIX:
            scale = (difference.abs().amax(1) / LIMIT).clamp(min=1e-12)
            tensors[f"{name}.scale"] = scale
            tensors[f"{name}.int8"] = (difference / scale[:, None]).round().to(torch.int8)
        elif not name.endswith(".scale"):  # deviations of channels stay
            tensors[name] = difference.half()
    record = {"format": 1, "name": look.name, "synthesis": digest(look.faithful)}
    data: bytes = save_tensors(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata={METADATA: json.dumps(record)}
    )
    write_atomically(path, data, force=True)
    return len(data)


@torch.inference_mode(False)
def load(path: str | Path, faithful: Synthesis, config: TransformConfig) -> Look:
    """Read a look that belongs to the synthesis `faithful` of a release.

    Raises:
        WeightsError: the file cannot be read, is no look, or belongs to another release.
    """
    try:
        data = Path(path).read_bytes()
        record = _record(data)
        tensors = load_tensors(data)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", str(path)) from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError("is not a look of pqmim, or damaged", str(path)) from error
    if record["synthesis"] != digest(faithful):
        raise WeightsError(f"the look {record['name']} belongs to other weights", str(path))
    synthesis, base = VividSynthesis(config), faithful.state_dict()
    state: dict[str, Tensor] = {}
    for name in synthesis.state_dict():
        if f"{name}.int8" in tensors:
            difference = tensors[f"{name}.int8"].float() * tensors[f"{name}.scale"][:, None]
        else:
            difference = tensors[name].float() if name in tensors else torch.zeros(())
        state[name] = base[name].cpu() + difference if name in base else difference
    synthesis.load_state_dict(state)
    device = faithful.head.device
    synthesis.eval().requires_grad_(False).to(device)
    return Look(record["name"], synthesis, faithful, tensors["strength"].float().to(device))


def belongs(path: str | Path, faithful: Synthesis) -> bool:
    """Whether a file is a look that belongs to the synthesis `faithful`."""
    try:
        return bool(_record(Path(path).read_bytes())["synthesis"] == digest(faithful))
    except (OSError, KeyError, ValueError, TypeError):
        return False


def _record(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][METADATA])
    return found
