"""Distributed data parallel (DDP) training: the processes of one run, called ranks, as `torchrun` starts them.

Every rank holds the whole model and takes its slice of each step's global batch; gradients, codebook
statistics and figures are summed over the ranks, so that all hold the same weights after every step, those
of one process with the whole batch.  The sums are written out instead of wrapping models in
`DistributedDataParallel`: losses call more methods of a model than the `forward` that the wrapper
watches, averages and checkpoints keep their names, and codebooks need sums of their own all the same.  The
price: gradients travel in one piece after the backward pass, not along with it.

Without `torchrun` there is one rank, and every function here gives back what it was given.  What the
ranks do together they must all do, in the same order, and in their main threads.
"""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from pqmim.errors import PqmimError

PATIENCE = timedelta(hours=12)  # others wait while the first evaluates, or encodes the crops of the prior


class UnsuitedRanks(PqmimError):
    """A number of processes that the batch or the machine does not allow."""


def join(device: str) -> torch.device:
    """Meet the processes that `torchrun` started beside this one, if it did; returns this one's device.

    They talk over NCCL on CUDA, each with the GPU of its `LOCAL_RANK`, over Gloo on the CPU.  Raises
    `UnsuitedRanks` where there are more processes than GPUs.
    """
    found = torch.device(device)
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return found
    if found.type == "cuda":
        local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= present:
            raise UnsuitedRanks(f"more processes than GPUs: start at most {present} on this machine")
        found = torch.device("cuda", local)
        torch.cuda.set_device(found)
    if int(os.environ["WORLD_SIZE"]) > 1 and not dist.is_initialized():
        if found.type == "cuda":
            dist.init_process_group("nccl", timeout=PATIENCE, device_id=found)
        else:
            dist.init_process_group("gloo", timeout=PATIENCE)
    return found


def leave() -> None:
    """Part from the others, at the end of a run."""
    if world() > 1:
        dist.destroy_process_group()


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if world() > 1 else 0


def first() -> bool:
    """Whether this rank is the one that evaluates, logs, saves and releases."""
    return rank() == 0


def wait() -> None:
    """Go on when all have come so far."""
    if world() > 1:
        dist.barrier()


def slice_of(count: int) -> slice:
    """This rank's part of a global batch of `count`.  Raises `UnsuitedRanks` if it cannot be shared evenly."""
    if count % world():
        raise UnsuitedRanks(f"a batch of {count} cannot be shared evenly by {world()} processes")
    share = count // world()
    return slice(rank() * share, (rank() + 1) * share)


def sum_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors of one type by their sums over the ranks."""
    tensors = list(tensors)
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(total.view(tensor.shape))


def mean_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors of one type by their means over the ranks."""
    tensors = list(tensors)
    sum_(tensors)
    if world() > 1:
        for tensor in tensors:
            tensor.div_(world())


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of the first rank."""
    if world() > 1:
        for tensor in tensors:
            sent = tensor.detach().contiguous()
            dist.broadcast(sent, 0)
            tensor.copy_(sent)


def gather(part: Tensor) -> Tensor:
    """The global batch (W * B, ...) of which each rank holds a `part` (B, ...), in the order of `slice_of`."""
    if world() == 1:
        return part
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def any_of(flag: bool) -> bool:
    """Whether any rank says so: what their clocks decide, they must decide alike."""
    return averaged({"": float(flag)})[""] > 0 if world() > 1 else flag


def averaged(figures: dict[str, float]) -> dict[str, float]:
    """Means over the ranks of figures with the same names on each."""
    if world() == 1 or not figures:
        return figures
    place = "cuda" if dist.get_backend() == "nccl" else "cpu"
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device=place)
    mean_([values])
    return dict(zip(figures, values.tolist()))


def uniform_like(part: Tensor) -> Tensor:
    """Uniform noise in [0, 1) like `part` (B, ...): this rank's part of what one process would draw for all.

    The noise of a sample thus depends on the seed and on its place in the global batch alone.  The batch must be the
    outermost dimension in memory, as it is in contiguous and channels-last tensors.
    """
    noise = torch.rand_like(torch.cat([part.detach()] * world()) if world() > 1 else part)
    return noise[slice_of(len(noise))]
