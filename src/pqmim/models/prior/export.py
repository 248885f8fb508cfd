"""From the float form of the prior to its integers, and back."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pqmim.models.prior import spec
from pqmim.models.prior.masked import Linear, MaskedPrior, exponents
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
