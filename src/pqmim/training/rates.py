"""Groups of sub-quantizers, and the ideal bits of codes under static frequencies and under a masked prior."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pqmim.coding.schedule import Group, Pass, known_before
from pqmim.models.prior.masked import LN2, MaskedPrior
from pqmim.training.recipe import Prior
from pqmim.training.stages.quantizer import QuantizedCodec


def groups_of(recipe: Prior, codec: QuantizedCodec) -> list[Group]:
    """The groups that the recipe names, or else cuts by the rates that most files have."""
    rates = len(codec.prices)
    return recipe.named_groups() or nested_groups(codec.entropies()[1 : 1 + rates // 2], recipe.shares, recipe.stages)


def nested_groups(entropies: Tensor, shares: Sequence[float], stages: Sequence[int]) -> list[Group]:
    """Split sub-quantizers into groups by their shares of the rate, the mean over rates of `entropies` (R, M).

    Args:
        entropies: Bits of each sub-quantizer at each rate.
        shares: Of the rate, of all groups but the last.
        stages: Spatial stages of each group.
    """
    share = (entropies / entropies.sum(1, keepdim=True)).mean(0)  # (M,)
    reached = (share.cumsum(0) / share.sum()).tolist()
    cuts, total = [0], 0.0
    for part in shares:
        total += part
        cuts.append(next(m for m, r in enumerate(reached) if r >= total) + 1)
    cuts.append(len(share))
    return [Group(a, b, n) for a, b, n in zip(cuts, cuts[1:], stages, strict=False) if b > a]


def active_at(active: Tensor, rate: Tensor) -> Tensor:
    """Sub-quantizers sent at fractional rates (B,), from those at whole ones: rounded up."""
    low = rate.floor().long().clamp(max=len(active) - 2)
    return torch.lerp(active[low].float(), active[low + 1].float(), rate - low).ceil().long()


def static_bits(codec: QuantizedCodec, rate: Tensor) -> Tensor:
    """Bits a position (B,) of static frequencies at fractional rates (B,)."""
    total = codec.entropies().sum(1)
    low = rate.floor().long().clamp(max=len(total) - 2)
    return torch.lerp(total[low], total[low + 1], rate - low)


def bits_of_pass(prior: MaskedPrior, tokens: Tensor, codes: Tensor, active: Tensor, sub_quantizers: range) -> Tensor:
    """Ideal bits (B,) of the codes of `sub_quantizers` at some positions of crops.

    Args:
        prior: What predicts them.
        tokens: Hidden states there, (B, n, d).
        codes: Codes there, (B, n, M).
        active: Sub-quantizers that each crop sends, (B,).
        sub_quantizers: Those that the pass codes.
    """
    coded = range(sub_quantizers.start, min(sub_quantizers.stop, int(active.max())))
    logits = prior.logits(tokens.flatten(0, 1), coded) * LN2  # (B * n, m, K)
    wanted = codes[..., coded.start : coded.stop].long()  # (B, n, m)
    nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
    sent = torch.arange(coded.start, coded.stop, device=codes.device) < active[:, None]
    return (nats * sent[:, None]).sum((1, 2)) / LN2


@torch.no_grad()
def ideal_bits(prior: MaskedPrior, codes: Tensor, rate: Tensor, order: Sequence[Pass], height: int) -> float:
    """Bits of one picture's codes over the whole schedule.

    Args:
        prior: What predicts them.
        codes: (1, h * w, M).
        rate: Fractional rate, (1,).
        order: The passes that code them.
        height: Rows h.
    """
    size, width = codes.shape[-1], codes.shape[1] // height
    total = 0.0
    for step in order:
        known = torch.from_numpy(known_before(step, size, height, width)).T[None].to(codes.device)
        tokens = prior.tokens(codes, known, rate, height, step.blocks).flatten(1, 2)
        at = torch.from_numpy(step.positions(height, width)).to(codes.device)
        sent = torch.tensor([step.sub_quantizers.stop], device=codes.device)
        total += bits_of_pass(prior, tokens[:, at], codes[:, at], sent, step.sub_quantizers).item()
    return total
