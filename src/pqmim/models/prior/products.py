"""Products of int8 matrices in torch: which form is fast is a property of the machine, and all forms give the same.

`torch._int_mm` is a plain loop where a processor has no int8 instructions, and it is silently wrong where oneDNN is held
to AVX2 on a processor that has them: sums of two products saturate at 16 bits. So it is taken only where the processor
has such instructions and a test at the extremes comes out exact. Elsewhere float32 holds the same integers.
"""

import os
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from pqmim.models.prior.spec import EXACT_TERMS, LIMIT

Product = Literal["int8", "float32"]

VARIABLE = "PQMIM_PRODUCT"
"""The environment variable that overrides the choice, for tests and for comparisons."""


def choose(device: torch.device) -> Product:
    """The form of products on a device: `PQMIM_PRODUCT` if that is set, or else the faster one that is exact."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return "int8" if _has_int8(device) and exact("int8", device) else "float32"
    if wanted not in get_args(Product):
        raise ValueError(f"{VARIABLE} is int8 or float32, not {wanted}")
    return "int8" if wanted == "int8" else "float32"


@cache
def exact(product: Product, device: torch.device) -> bool:
    """Whether a form sums products of int8 exactly on a device, at the extremes and in odd shapes."""
    shapes = (1, EXACT_TERMS, 8), (3, 2, 1), (17, 257, 33), (64, 512, 256), (1000, 256, 768)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        return all(_exact(product, device, *shape) for shape in shapes)


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Products of activations int8 (N, k) and weights (n, k), int8 or float32: (N, n) int32."""
    if weight.dtype == torch.int8:
        if x.device.type == "cpu" or (len(x) > 16 and x.shape[1] % 8 == 0 and len(weight) % 8 == 0):
            return torch._int_mm(x, weight.T)
        weight = weight.float()
    return F.linear(x.float(), weight).to(torch.int32)


def _has_int8(device: torch.device) -> bool:
    if device.type != "cpu":
        return device.type == "cuda"
    names = "_is_vnni_supported", "_is_amx_tile_supported"
    return any(hasattr(torch.cpu, name) and getattr(torch.cpu, name)() for name in names)


def _exact(product: Product, device: torch.device, rows: int, terms: int, columns: int) -> bool:
    """Whether sums of +-127 x 127 come out right where all, none, and changing ones have the same sign."""
    index = torch.arange(rows * terms, device=device).view(rows, terms)
    found = True
    for signs in (torch.ones_like(index), index % 2 * 2 - 1, (index * index // 7) % 3 % 2 * 2 - 1):
        x = (LIMIT * signs).to(torch.int8)
        weight = x[:1].repeat(columns, 1)  # (n, k): the first row sums to the bound
        weight[1::2] = -weight[1::2]
        wanted = (x.double() @ weight.double().T).to(torch.int32)
        try:
            given = multiply(x, weight if product == "int8" else weight.float())
        except RuntimeError:  # no kernel for this shape
            return False
        found = found and torch.equal(given, wanted)
    return found
