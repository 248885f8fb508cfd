"""transforms.pt from released weights, for rivals, ablations and short runs that start where the shipped codec stands.

    python benchmarks/shared_start.py shards/ --out runs/equal

Transforms and steps are those of the weights.  The density of the scalar proxy, which releases leave out, is fitted
to latents of training photos.  The checkpoint is that of a finished stage: ``pqmim train`` goes on behind it.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from pqmim import release as weights
from pqmim.models.modules import Modules
from pqmim.models.transforms import TransformConfig
from pqmim.training import checkpoints, recipe
from pqmim.training.data import Photos
from pqmim.training.stages.transforms import ProxyCodec, to_images

STEPS, FALLING = 260, 150  # of Adam on the densities, and over how many of them its rate falls
WIDTHS = 0.2, 0.55, 1.4  # of the components at the start, in shares of the logistic density of the channel's deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of photos, or of tar shards")
    parser.add_argument("--weights", type=Path, help="a weights file (default: the shipped one)")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "default.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    plan, released = recipe.load(args.recipe), weights.load(args.weights)
    photos = Photos(args.data, augment=plan.augment)
    parts = {name: released.part(name) for name in ("analysis", "quantizer", "synthesis")}
    record = released.record
    modules = Modules.build(record.transforms, record.dimensions, record.codewords, parts)
    model = ProxyCodec(TransformConfig(**record.transforms), torch.tensor(plan.lambdas))
    model.analysis.load_state_dict(modules.analysis.state_dict())
    model.synthesis.load_state_dict(modules.synthesis.state_dict())
    model.proxy.log_gain.data.copy_(modules.quantizer.log_gain)
    model.proxy.log_step.data.copy_(modules.quantizer.log_step)
    fit(model, latents(model, photos))
    measure(model, photos)
    state = {"step": plan.stages["transforms"].steps, "model": model.state_dict(), "optimizers": []}
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoints.save(state | {"average": AveragedModel(model).state_dict()}, args.out / "transforms.pt", float("inf"))


@torch.no_grad()
def latents(model: ProxyCodec, photos: Photos, crops: int = 48) -> Tensor:
    """Latents in quantization steps at each level: (L, C, N)."""
    found = []
    for number in range(len(model.lambdas)):
        level = torch.full((crops,), float(number))
        images = to_images(photos.crops(crops, 192, (77, number)), torch.device("cpu"))
        with torch.autocast("cpu", torch.bfloat16):
            z = model.analysis(images, level)
        found.append(model.proxy.quantize(z, level)[0].permute(1, 0, 2, 3).flatten(1))
    return torch.stack(found)


def fit(model: ProxyCodec, y: Tensor) -> None:
    """Densities by maximum likelihood, with the noise that stands for rounding."""
    torch.manual_seed(0)
    proxy, levels = model.proxy, torch.arange(len(y)).float()
    parameters = [proxy.weight, proxy.mean, proxy.log_width]
    with torch.no_grad():
        deviation = y.std(-1).clamp(min=0.02)
        for component, width in enumerate(WIDTHS):
            proxy.log_width[component].copy_((0.55 * width * deviation).clamp(min=0.04).log())
        proxy.mean.copy_(y.mean(-1).expand_as(proxy.mean))
    solver = torch.optim.Adam(parameters, lr=0.05)
    fall = torch.optim.lr_scheduler.LambdaLR(solver, lambda step: min(1.0, (STEPS - step) / FALLING))
    for _ in tqdm(range(STEPS), desc="fit densities", unit="step"):
        some = y[..., torch.randint(y.shape[2], (256,))]
        bits = proxy.bits((some + torch.rand_like(some) - 0.5)[..., None], levels).sum(1).mean()
        solver.zero_grad()
        bits.backward()
        solver.step()
        fall.step()


@torch.no_grad()
def measure(model: ProxyCodec, photos: Photos) -> None:
    """The typical loss of each level, by which ``balanced`` divides."""
    model.eval()
    for number in range(len(model.lambdas)):
        images = to_images(photos.crops(8, 192, (78, number)), torch.device("cpu"))
        error, rate = model(images, torch.full((8,), float(number)))
        model.typical[number] = (error + model.lambdas[number] * rate).mean()


if __name__ == "__main__":
    main()
