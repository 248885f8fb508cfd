"""From the float form of the prior to its integers, and back."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pqmim.models.prior import spec
from pqmim.models.prior.masked import Block, Linear, MaskedPrior, PriorConfig, exponents
from pqmim.models.transforms import blend


@torch.no_grad()
def export(prior: MaskedPrior, rates: Tensor) -> dict[str, NDArray[Any]]:
    """Round a trained prior to its integer form.

    Args:
        prior: the float form.
        rates: (101,) fractional rates of all qualities.

    Returns:
        int8, int16 and int32 arrays by name.

    Raises:
        ValueError: a number of the integer form could leave what carries it.
    """
    found = {
        "dimensions": torch.tensor(prior.dimensions, dtype=torch.int16),
        "codebook": _fixed(prior.codebook, spec.MEAN, spec.LARGEST_MEAN).to(torch.int16),
        "feature": _fixed(prior.feature, spec.ACTIVATION, spec.LIMIT).to(torch.int8),
        "level": _fixed(blend(prior.level, rates.to(prior.level)).flatten(1), spec.RESIDUAL, 1 << 20),
        "term": _fixed(prior.term, spec.ACTIVATION, spec.LIMIT).to(torch.int8),
        "static": _fixed(prior.static, spec.RESIDUAL, spec.LARGEST_STATIC).to(torch.int16),
    }
    found |= _linear("embed", prior.embed, spec.RESIDUAL, pad=True)
    for name in ("mean", "precision", "free"):
        found |= _linear(name, getattr(prior, name), spec.ACTIVATION)
    for index, block in enumerate(prior.blocks):
        assert isinstance(block, Block)
        kernel, places = block.depthwise, exponents(block.depthwise)
        found[f"{index}.depthwise.weight"] = _rows(kernel, places).view(-1, 9).to(torch.int8)
        found[f"{index}.depthwise.shift"] = (places + spec.ACTIVATION - spec.RESIDUAL).to(torch.int8)
        found[f"{index}.bias"] = _fixed(block.bias, spec.SCORE, spec.LARGEST_BIAS).T  # (heads, 225)
        found |= _linear(f"{index}.qkv", block.qkv, spec.ACTIVATION)
        found |= _linear(f"{index}.attended", block.attended, spec.RESIDUAL)
        found |= _linear(f"{index}.expand", block.expand, spec.ACTIVATION)
        found |= _linear(f"{index}.reduce", block.reduce, spec.RESIDUAL)
    tensors = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in found.items()}
    spec.check(tensors)
    return tensors


@torch.no_grad()
def from_integers(tensors: spec.Tensors, rates: Tensor, levels: int) -> MaskedPrior:
    """Rebuild a trainable prior from a release, so that training can go on from it.

    Every number is what its integer stands for, so `export` gives the same function again; but for the rate levels,
    which are fitted to those of all qualities and come back to within one unit.

    Args:
        tensors: of the release.
        rates: (101,) fractional rates of all qualities.
        levels: the number of rates between which the dial interpolates.
    """
    layout, block = spec.Layout(tensors), "0.reduce.weight"
    hidden = tensors[block].shape[1] if layout.blocks else layout.width
    heads = len(tensors["0.bias"]) if layout.blocks else 1
    config = PriorConfig(layout.width, layout.blocks, heads, hidden, layout.rank)
    prior = MaskedPrior(config, _floats(tensors["codebook"], spec.MEAN), layout.dimensions, levels)
    state = {
        "codebook": prior.codebook,
        "level": _knots(_floats(tensors["level"], spec.RESIDUAL), rates, levels),
        "term": _floats(tensors["term"], spec.ACTIVATION),
        "static": _floats(tensors["static"], spec.RESIDUAL),
    }
    state |= _layer(tensors, "embed", spec.RESIDUAL, 2 * layout.first[-1] + layout.size)
    for name in ("mean", "precision", "free"):
        state |= _layer(tensors, name, spec.ACTIVATION)
    for index in range(layout.blocks):
        kernel = _unscaled(tensors, f"{index}.depthwise", spec.RESIDUAL)
        state[f"blocks.{index}.depthwise"] = kernel.view(-1, 1, 3, 3)
        state[f"blocks.{index}.bias"] = _floats(tensors[f"{index}.bias"], spec.SCORE).T
        for name, bits in (("qkv", spec.ACTIVATION), ("attended", spec.RESIDUAL)):
            state |= _layer(tensors, f"{index}.{name}", bits)
        for name, bits in (("expand", spec.ACTIVATION), ("reduce", spec.RESIDUAL)):
            state |= _layer(tensors, f"{index}.{name}", bits)
    prior.load_state_dict(state)
    return prior


def _floats(array: NDArray[Any], bits: int) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)) * 2.0**-bits


def _knots(level: Tensor, rates: Tensor, levels: int) -> Tensor:
    """Rows (levels, d) between which the `level` (101, d) of all qualities lies, in the least squares."""
    shares = blend(torch.eye(levels, dtype=torch.float64), rates.double()).flatten(1)  # (101, levels)
    found: Tensor = torch.linalg.lstsq(shares, level.double(), driver="gelsd").solution
    return found.float()


def _unscaled(tensors: spec.Tensors, name: str, bits: int) -> Tensor:
    """Weights (n, k) in floats, of a layer that brings activations to `bits` fractional bits."""
    places = torch.from_numpy(tensors[f"{name}.shift"].astype(np.float32)) - spec.ACTIVATION + bits
    return torch.from_numpy(tensors[f"{name}.weight"].astype(np.float32)) * torch.exp2(-places)[:, None]


def _layer(tensors: spec.Tensors, name: str, bits: int, columns: int | None = None) -> dict[str, Tensor]:
    """State of a linear layer; `columns` leaves out those that were padded."""
    shift = tensors[f"{name}.shift"].astype(np.int64)
    bias = tensors[f"{name}.bias"].astype(np.int64) - (np.left_shift(1, shift) >> 1)
    # The sum has the fractional bits of the output and, below them, those that the shift takes away.
    scaled = torch.from_numpy(bias) * torch.exp2(-torch.from_numpy(shift + bits).double())
    key = f"blocks.{name}" if name[0].isdigit() else name
    weight = _unscaled(tensors, name, bits)[:, :columns]
    return {f"{key}.weight": weight.contiguous(), f"{key}.bias": scaled.float()}


def _fixed(x: Tensor, bits: int, most: int) -> Tensor:
    return (x.float() * 2.0**bits).round().clamp(-most, most).to(torch.int32)


def _rows(weight: Tensor, places: Tensor) -> Tensor:
    return (weight.flatten(1) * torch.exp2(places)[:, None]).round().clamp(-spec.LIMIT, spec.LIMIT)


def _linear(name: str, layer: Linear, bits: int, pad: bool = False) -> dict[str, Tensor]:
    """Weights, bias and shift that bring int8 activations to `bits` fractional bits; half a unit is in the bias."""
    places = exponents(layer.weight)
    shift = (places + spec.ACTIVATION - bits).long()
    weight = _rows(layer.weight, places).to(torch.int8)
    if pad:
        weight = F.pad(weight, (0, -weight.shape[1] % 8))
    bias = (layer.bias * torch.exp2(places + spec.ACTIVATION)).round().clamp(-(2**28), 2**28).long()
    bias = bias + torch.bitwise_right_shift(torch.bitwise_left_shift(torch.ones_like(shift), shift), 1)
    return {f"{name}.weight": weight, f"{name}.bias": bias.to(torch.int32), f"{name}.shift": shift.to(torch.int8)}
