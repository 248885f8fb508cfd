"""What training multiplies in: bfloat16 where the processor does so natively, float32 elsewhere.

Where bfloat16 is emulated a step takes many times as long as in float32.  What decides is asked of the processor and
never timed, so that a run that goes on computes as it did before.
"""

from dataclasses import dataclass
from typing import Literal

import torch

Wish = Literal["auto", "bfloat16", "float32"]


@dataclass(frozen=True)
class Precision:
    """The type of matrix products and convolutions; sums, losses and weights are float32 in any case."""

    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, device: torch.device, wish: Wish = "auto") -> "Precision":
        """The precision that is wished for, or else the fastest of `device`."""
        if wish == "auto":
            return cls(torch.bfloat16 if native(device) else torch.float32)
        return cls(torch.bfloat16 if wish == "bfloat16" else torch.float32)

    @property
    def half(self) -> bool:
        """Whether it is narrower than float32."""
        return self.dtype is not torch.float32

    def autocast(self, device: torch.device) -> torch.autocast:
        """A context in which products on `device` are of this precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.half)


def native(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 natively; a processor that cannot tell is taken for one that does not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(bool(check()) for check in checks if check is not None)
