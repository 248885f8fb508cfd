"""The transformer of the prior as a torch module that ONNX can hold, in whole numbers carried by float32 and int32.

The same arithmetic as `models.prior.numpy`: products of whole float32 numbers are exact in any order of summation, and
right shifts are floor divisions by powers of two.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.prior import spec


class Trunk(nn.Module):
    """All blocks of a prior. Outputs the hidden states after none of them, after the first, and so on."""

    def __init__(self, tensors: spec.Tensors) -> None:
        super().__init__()
        layout = spec.Layout(tensors)
        self.blocks = nn.ModuleList(_Block(tensors, index) for index in range(layout.blocks))

    def forward(self, x: Tensor, even: Tensor, even_back: Tensor, odd: Tensor, odd_back: Tensor) -> list[Tensor]:
        """Hidden states.

        Args:
            x: residual stream int32 (h, w, d): embedding and level.
            even: cells of the windows of even blocks (V, 64), as `spec.windows` gives them; h * w is beyond the picture.
            even_back: for each cell, where it stands in `even` when that is flat (h * w,).
            odd: the same of odd blocks.
            odd_back: likewise.
        """
        found = [_act(x).flatten(0, 1)]
        for index, block in enumerate(self.blocks):
            x = block(x, *((odd, odd_back) if index % 2 else (even, even_back)))
            found.append(_act(x).flatten(0, 1))
        return found


class _Block(nn.Module):
    """See `models.prior.numpy.Block`."""

    def __init__(self, tensors: spec.Tensors, index: int) -> None:
        super().__init__()
        kernel = np.ascontiguousarray(tensors[f"{index}.depthwise.weight"], np.float32)  # (d, 9)
        self.kernel = nn.Buffer(torch.from_numpy(kernel).reshape(-1, 1, 3, 3))
        shift = torch.from_numpy(tensors[f"{index}.depthwise.shift"].astype(np.int32))
        self.divisor = nn.Buffer(torch.ones_like(shift) << shift)
        bias = tensors[f"{index}.bias"][:, spec.relative_positions()].astype(np.float32)  # (heads, 64, 64)
        self.bias = nn.Buffer(torch.from_numpy(bias))
        self.weights = nn.Buffer(torch.from_numpy(spec.attention_weights().astype(np.float32)))
        self.qkv, self.attended, self.expand, self.reduce = (
            _Linear(tensors, f"{index}.{name}") for name in ("qkv", "attended", "expand", "reduce")
        )

    def forward(self, x: Tensor, windows: Tensor, back: Tensor) -> Tensor:
        height, width, depth = x.shape
        taps = F.conv2d(_act(x).permute(2, 0, 1)[None], self.kernel, padding=1, groups=depth)[0].permute(1, 2, 0)
        x = x + _shifted(taps.to(torch.int32) + self.divisor // 2, self.divisor)
        stream = x.reshape(height * width, depth)
        stream = stream + self.attended(self._attend(_act(stream), windows, back))
        a, b = _clipped(self.expand(_act(stream))).chunk(2, 1)
        stream = stream + self.reduce(_act((a.clamp(min=0) * b).to(torch.int32)))
        after: Tensor = stream.reshape(height, width, depth)
        return after

    def _attend(self, h: Tensor, windows: Tensor, back: Tensor) -> Tensor:
        heads, depth = self.bias.shape[0], h.shape[1]
        qkv = F.pad(_clipped(self.qkv(h)), (0, 0, 0, 1))  # the last row: beyond the picture
        found = qkv[windows.reshape(-1)].reshape(-1, 64, 3, heads, depth // heads).permute(2, 0, 3, 1, 4)
        q, k, v = found[0], found[1], found[2]  # (V, heads, 64, d')
        scores = q @ k.transpose(-1, -2) + self.bias
        outside = (windows == h.shape[0])[:, None, None]
        scores = torch.where(outside, torch.full_like(scores, float(spec.OUTSIDE)), scores)
        deficit = (scores.amax(-1, keepdim=True) - scores).clamp(max=float(spec.NOTHING))
        weights = self.weights[deficit.to(torch.int64)]
        total = weights.sum(-1, keepdim=True)
        mixed: Tensor = torch.floor(((weights @ v) * 2 + total) / (2 * total))
        return mixed.permute(0, 2, 1, 3).reshape(-1, depth)[back]


class _Linear(nn.Module):
    """See `models.prior.numpy.Layer`."""

    def __init__(self, tensors: spec.Tensors, name: str) -> None:
        super().__init__()
        self.weight = nn.Buffer(torch.from_numpy(np.ascontiguousarray(tensors[f"{name}.weight"].T, np.float32)))
        self.bias = nn.Buffer(torch.from_numpy(tensors[f"{name}.bias"].astype(np.int32)))
        shift = torch.from_numpy(tensors[f"{name}.shift"].astype(np.int32))
        self.divisor = nn.Buffer(torch.ones_like(shift) << shift)

    def forward(self, x: Tensor) -> Tensor:
        return _shifted((x @ self.weight).to(torch.int32) + self.bias, self.divisor)


def _shifted(x: Tensor, divisor: Tensor) -> Tensor:
    """An arithmetic right shift of int32: what is left over goes first, since division rounds towards zero."""
    return torch.div(x - torch.remainder(x, divisor), divisor, rounding_mode="trunc")


def _act(x: Tensor) -> Tensor:
    """Activations float32 of int32."""
    sixteen = torch.full_like(x, 16)
    return _shifted(x + 8, sixteen).clamp(-spec.LIMIT, spec.LIMIT).to(torch.float32)


def _clipped(x: Tensor) -> Tensor:
    return x.clamp(-spec.LIMIT, spec.LIMIT).to(torch.float32)
