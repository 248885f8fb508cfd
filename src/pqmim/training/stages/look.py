"""The vivid look: a second synthesis that learns, on the encoder's own codes of a release, to look like photos.

First by features: a little squared error, the distance of SqueezeNet's features, and statistics of textures. Then
against a projected discriminator on the same features, which knows the latent. Codes, and so files, stay as they are.
The share of squared error grows as rates fall: there the codes say so little that a look made by features alone draws
what was never there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from tqdm import tqdm

from pqmim import looks, release
from pqmim.dial import EFFORT
from pqmim.encoder import Encoder
from pqmim.errors import WeightsError
from pqmim.models import textures
from pqmim.models.discriminator import Depth, Discriminator, hinge, persuasion
from pqmim.models.features import SqueezeNet, distance
from pqmim.models.looks import VividSynthesis
from pqmim.models.modules import Modules
from pqmim.models.noise import CHANNELS
from pqmim.models.quantizer import ProductQuantizer, level_of_rate
from pqmim.reception import prior_of
from pqmim.training import loop, ranks
from pqmim.training.data import Photos
from pqmim.training.optimizers import Learner
from pqmim.training.recipe import BaseRecipe, RecipeError
from pqmim.training.run import Run
from pqmim.training.schedules import Part, Schedule
from pqmim.training.stage import Figures, Stage
from pqmim.training.validation import held_back, psnr, to_images

NAME = "vivid"
SHIFT = 16  # pixels by which pictures are moved at random before the network's strides, so that none leaves a grid
WEIGHTS = tuple(weight / 7 for weight in (1.2, 1.2, 1.2, 0.6, 0.6, 0.6, 0.6))  # of features, by depth
TEXTURED = (0, 1, 2)  # depths of the network whose textures are compared: 1/2, 1/4 and 1/8 of the size
HEADS = {0: Depth(64, 32, 2), 1: Depth(128, 64, 2), 2: Depth(256, 64, 1), 6: Depth(512, 64, 1)}  # by depth
BETAS = 0.5, 0.9  # of the discriminator's Adam
VARIED = 0.05  # of the squared error: what two seeds differ by at least
MOST_ERROR = 0.15  # of the loss, that a crop's squared error makes
FAVOUR = 1.5  # exponent of evenly drawn qualities: low ones come more often, for there the looks differ most


class LookSchedule(Schedule):
    """Of the look without an adversary."""

    unread: ClassVar[Mapping[str, str]] = {"line_search": "a look has no cost that a search could make small"}
    samples: int = Field(6000, ge=1)
    """Crops whose codes are kept in memory."""
    squared: float = Field(5e-4, gt=0)
    """Weight of the squared error at rates up to 3; four times as much at the lowest."""
    texture: float = Field(0.15, ge=0)
    """Weight of texture statistics; features count 1."""
    detail: float = Field(0.4, ge=0)
    """Weight of the energies of fine detail."""
    varied: float = Field(0.02, ge=0)
    """Weight of what two seeds have to differ by, so that noise is not unlearned."""
    cut: float = Field(0.2, ge=0, le=1)
    """Share of the crops whose last sub-quantizers are left out, as in files that are cut."""


class AdversarialLookSchedule(LookSchedule):
    """Of the look against a discriminator; both follow Adam."""

    unread: ClassVar[Mapping[str, str]] = {
        **LookSchedule.unread,
        "samples": "the adversary sees the crops of the stage features",
        "crop": "the adversary sees the crops of the stage features",
        "muon": "the look follows Adam alone against an adversary",
    }
    judge: float = Field(4e-4, gt=0)
    """Peak learning rate of the discriminator."""
    alone: int = Field(100, ge=0)
    """Steps that the discriminator learns alone, at first."""
    ramp: int = Field(250, ge=1)
    """Steps over which its weight grows."""
    weight: float = Field(0.5, gt=0)
    """Norm of its gradient, of that of all other losses."""
    pixels: int = Field(0, ge=0)
    """Width of the discriminator's head that sees pixels; 0: it sees features alone."""


class Stages(Part):
    """The stages, in order."""

    features: LookSchedule
    """Squared error, features and textures."""
    adversarial: AdversarialLookSchedule | None = None
    """The same with a discriminator."""


class LookRecipe(BaseRecipe):
    """A look of a release."""

    unread: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("lambdas", "transforms", "start"), "a look has those of its release"
    )
    kind: Literal["vivid"] = "vivid"
    """What is trained."""
    lambdas: list[float] = Field([])
    """Not of a look: its release has them."""
    look: Path | None = None
    """The look of another release, of the same sizes, to go on from; the faithful synthesis where none is named."""
    share: float = Field(1.0, gt=0, le=1)
    """How far from the faithful synthesis to the one that training found the look stands, in its weights."""
    strength: list[float] | None = None
    """How much of that the look has at each rate level, chosen on held-back photos; 1 everywhere where none are named."""
    stages: Stages
    """The schedules."""


@dataclass(frozen=True)
class CodedCrops:
    """Crops (N, S, S, 3) of uint8, codes (N, n, M) of uint8 that the encoder chose, and their rates (N,)."""

    crops: Tensor
    codes: Tensor
    rate: Tensor


def coded_crops(
    released: release.Release, modules: Modules, photos: Photos, schedule: LookSchedule, seed: int, shown: bool = False
) -> CodedCrops:
    """Random crops at random qualities, as the release's encoder codes them."""
    record, prior, device = released.record, prior_of(released), modules.analysis.stem.device
    encoder = Encoder(modules.analysis, modules.quantizer, modules.synthesis)
    crops, codes, rates = [], [], []
    for number in tqdm(range(schedule.samples), desc="choose codes", unit="crop", mininterval=5, disable=not shown):
        found = torch.as_tensor(photos.crops(1, schedule.crop, (seed, 11, number))).cpu()
        quality = int(np.random.default_rng((seed, 12, number)).random() ** FAVOUR * len(record.rates))
        effort = EFFORT if number % 4 else 0
        grid, _ = encoder.encode(to_images(found, device), quality, effort, record, prior)
        crops.append(found[0])
        codes.append(torch.from_numpy(grid.codes.T.copy()))
        rates.append(record.rates[quality])
    return CodedCrops(torch.stack(crops), torch.stack(codes), torch.tensor(rates))


class Memory(nn.Module):
    """What steps hand on to later ones. It is in the checkpoint, so that a resumed stage is the one it would have been.

    Attributes:
        energy: root energies (C, 1, 1) of originals' features at the first step, by depth; none before it.
        ratio: running ratio of the gradients' norms of all other losses and of the adversary; None before one.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.energy: list[Tensor] = []
        self.ratio: float | None = None

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds."""
        return {"energy": self.energy, "ratio": self.ratio}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take in what a `state_dict` holds."""
        self.energy, self.ratio = [tensor.to(self.device) for tensor in state["energy"]], state["ratio"]


class LookStage(Stage[VividSynthesis, Tensor]):
    """Squared error, features and textures."""

    schedule: LookSchedule
    network: SqueezeNet
    validation: Sequence[Tensor] = ()

    def __init__(
        self, name: str, model: VividSynthesis, schedule: LookSchedule, run: Run, seed: int, coded: CodedCrops
    ) -> None:
        super().__init__(name, model, schedule, run, seed)
        self.coded, self.share = coded, ranks.slice_of(schedule.batch)
        self.others["memory"] = self.memory = Memory(run.device)

    def on(self, quantizer: ProductQuantizer, network: SqueezeNet) -> None:
        """Set what the codes and the features come from."""
        self.quantizer, self.network = quantizer, network
        self.means = torch.einsum("lmk,mkd->lmd", quantizer.log2_probability.exp2(), quantizer.codebook).flatten(1)

    def batch(self, step: int) -> Tensor:
        """Numbers of crops; the last one is the first once more, for another seed."""
        rng = np.random.default_rng((self.seed, step))
        drawn = torch.from_numpy(rng.integers(len(self.coded.crops), size=self.schedule.batch)[self.share])
        drawn[-1] = drawn[0]
        return drawn

    def step(self, data: Tensor, step: int) -> Figures:
        """One step without an adversary."""
        latent, images = self.received(data)
        drawn = self.drawn(latent, data)
        loss, figures = self.loss(drawn, images, data)
        self.learners[0].follow(loss)
        return figures

    def received(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, C, h, w) as a decoder has them, some of them cut, and the original crops."""
        device, rate = self.run.device, self.coded.rate[data].to(self.run.device)
        codes = self.coded.codes[data].to(device)
        words = self.quantizer.lookup(codes)  # (B, n, C)
        owner = self.quantizer.slot // self.quantizer.codebook.shape[2]
        low = rate.floor().long().clamp(max=len(self.means) - 2)
        means = torch.lerp(self.means[low], self.means[low + 1], (rate - low)[:, None])[:, self.quantizer.slot]
        size = codes.shape[-1]
        kept = torch.where(torch.rand(len(data)) < self.schedule.cut, torch.rand(len(data)).square() * size + 3, size)
        kept[-1] = kept[0]
        words = torch.where(owner < kept.to(device)[:, None, None], words, means[:, None])
        side = math.isqrt(codes.shape[1])
        latent = self.quantizer.restored(words, level_of_rate(rate), side)
        return latent, to_images(self.coded.crops[data], device)

    def drawn(self, latent: Tensor, data: Tensor) -> Tensor:
        """Pictures of this look, with noise of their own."""
        level = level_of_rate(self.coded.rate[data].to(self.run.device))
        noise = torch.randn(len(latent), CHANNELS, *(2 * side for side in latent.shape[2:])).to(latent)
        with self.run.autocast():
            drawn: Tensor = self.model(latent, level, noise).float()
        return drawn

    def seen(self, drawn: Tensor, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of drawn pictures and of originals, moved alike at random."""
        top, left = torch.randint(SHIFT, (2,)).tolist()
        side = images.shape[2] - SHIFT
        parts = [x[..., top : top + side, left : left + side] for x in (drawn, images)]
        self.moved = parts
        with self.run.autocast():
            with torch.no_grad():
                real = [f.float() for f in self.network(parts[1])]
            fake = [f.float() for f in self.network(parts[0])]
        if not self.memory.energy:
            self.memory.energy = [f.square().mean((0, 2, 3)).sqrt()[:, None, None] + 1e-3 for f in real]
            ranks.mean_(self.memory.energy)
        return fake, real

    def loss(self, drawn: Tensor, images: Tensor, data: Tensor) -> tuple[Tensor, Figures]:
        """What a step follows, and figures."""
        self.features = fake, real = self.seen(drawn, images)
        error = (drawn - images).square().mean((1, 2, 3))
        rate = self.coded.rate[data].to(error.device)
        weight = self.schedule.squared * torch.exp2(0.8 * (rate - 3).clamp(min=0))
        squared = (torch.minimum(weight, MOST_ERROR / error.detach().clamp(min=1e-3)) * error).mean()
        features = sum((w * distance([a], [b]).mean() for w, a, b in zip(WEIGHTS, fake, real)), error.new_zeros(()))
        offset = (int(torch.randint(textures.WINDOW, ())), int(torch.randint(textures.WINDOW, ())))
        units = [[fs[i] / self.memory.energy[i] for i in TEXTURED] for fs in (fake, real)]
        texture = textures.apart(units[0], units[1], offset)
        bands = [textures.detail(x) for x in self.moved]
        detail = torch.stack([(a - b).square().mean() for a, b in zip(*bands)]).mean() / 4
        gap = (drawn[0] - drawn[-1]).square().mean() / error[0].detach().clamp(min=1e-3)
        loss = squared + features + self.schedule.texture * texture + self.schedule.detail * detail
        loss = loss + self.schedule.varied * F.relu(1 - gap / VARIED)
        figures = {"squared": squared, "features": features, "texture": texture, "detail": detail, "gap": gap}
        return loss, {"loss": loss.item()} | {name: value.item() for name, value in figures.items()}

    def evaluate(self, model: VividSynthesis) -> Figures:
        """PSNR of the look, and the distance of its features, on held-back photos at their own latents."""
        rows = []
        for latent, level, image in self.validated():
            noise = torch.randn(1, CHANNELS, *(2 * side for side in latent.shape[2:])).to(latent)
            drawn = model(latent, level, noise)
            rows.append((psnr((drawn - image).square().mean().item()), distance(*map(self.network, (drawn, image)))))
        return {"psnr": float(np.mean([a for a, _ in rows])), "features": float(np.mean([float(b) for _, b in rows]))}

    def validated(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Latents, levels and pictures that the stage is measured on."""
        rate = torch.full((1,), 3.0, device=self.run.device)
        level, found = level_of_rate(rate), []
        for image in self.validation:
            z = self.analysis(image, level)
            codes = self.quantizer.assign(z, rate, torch.full_like(rate, 400.0))
            words = self.quantizer.lookup(codes)
            found.append((self.quantizer.restored(words, level, z.shape[2]), level, image))
        return found

    analysis: nn.Module


class AdversarialLookStage(LookStage):
    """The same against a discriminator on the same features."""

    schedule: AdversarialLookSchedule
    judge: Discriminator

    def against(self, judge: Discriminator) -> None:
        """Set the adversary, and the optimizers of a game of two."""
        self.judge = self.others["judge"] = judge
        own = [p for p in self.model.parameters() if p.requires_grad]
        first = torch.optim.AdamW(own, lr=self.schedule.adam, betas=(0.9, 0.99), weight_decay=0.0)
        second = torch.optim.Adam(judge.parameters(), lr=self.schedule.judge, betas=BETAS)
        self.learners = [
            Learner(own, [first], self.schedule.clip, self.schedule.skip_above),
            Learner(judge.parameters(), [second]),
        ]

    def step(self, data: Tensor, step: int) -> Figures:
        """One step each."""
        latent, images = self.received(data)
        drawn = self.drawn(latent, data)
        loss, figures = self.loss(drawn, images, data)
        fake, real = ([fs[i] / self.memory.energy[i] for i in HEADS] for fs in self.features)
        self.judge.train().requires_grad_(False)
        with self.run.autocast():
            fooled = persuasion([scores.float() for scores in self.judge(fake, latent, self.moved[0])])
        share = self.schedule.weight * min(1.0, max(0, step - self.schedule.alone) / self.schedule.ramp)
        self.learners[0].follow(loss + share * self._balance(loss, fooled, drawn) * fooled)
        self.judge.requires_grad_(True)
        with self.run.autocast():
            scores = [
                [s.float() for s in self.judge([f.detach() for f in fs], latent, image.detach())]
                for fs, image in zip((fake, real), self.moved)
            ]
        told = hinge(real=scores[1], fake=scores[0])
        self.learners[1].follow(told)
        return figures | {"fooled": fooled.item(), "told": told.item()}

    def _balance(self, loss: Tensor, fooled: Tensor, drawn: Tensor) -> float:
        """Running ratio of both gradients' norms at the pixels, so that neither drowns the other."""
        one, other = (torch.autograd.grad(value, drawn, retain_graph=True)[0].norm() for value in (loss, fooled))
        found, memory = ranks.averaged({"": float(one / other.clamp(min=1e-12))})[""], self.memory
        memory.ratio = found if memory.ratio is None else 0.98 * memory.ratio + 0.02 * found
        return memory.ratio


def train_look(recipe: LookRecipe, photos: Photos, run: Run) -> Path:
    """Run the stages, write `NAME.safetensors` into the run's folder and return its path.

    Raises:
        RecipeError: The recipe's strength has another number of levels than the release.
        WeightsError: The run names no SqueezeNet, or a file that is none.
    """
    if run.features is None:
        raise WeightsError(
            "its losses compare features: name the weights of a SqueezeNet 1.1 (--features)", recipe.name
        )
    network, released = SqueezeNet.read(run.features).to(run.device), release.load(recipe.weights)
    parts = {name: released.part(name) for name in ("analysis", "quantizer", "synthesis")}
    record = released.record
    levels = record.transforms["levels"]
    if recipe.strength is not None and len(recipe.strength) != levels:
        raise RecipeError(f"strength: {len(recipe.strength)} numbers for the release's {levels} levels", recipe.name)
    modules = Modules.build(record.transforms, record.dimensions, record.codewords, parts, run.device)
    torch.manual_seed(recipe.seed)
    model = VividSynthesis(modules.synthesis.config).to(run.device)
    begin = modules.synthesis.state_dict()
    if recipe.look is not None:
        found = looks.load(recipe.look, parts["synthesis"], None).tensors
        begin = {name: torch.from_numpy(tensor) for name, tensor in found.items()}
    model.load_state_dict(begin, strict=False)
    first, second, seed = recipe.stages.features, recipe.stages.adversarial, recipe.seed + 7
    saved: dict[str, Any] = run.once(
        f"{recipe.name}-coded", lambda: vars(coded_crops(released, modules, photos, first, recipe.seed, run.progress))
    )
    coded = CodedCrops(**saved)

    def prepared(stage: LookStage) -> LookStage:
        stage.on(modules.quantizer, network)
        stage.analysis, stage.validation = modules.analysis, held_back(photos, run.device)
        return stage

    model = loop.train(prepared(LookStage(f"{recipe.name}-features", model, first, run, seed, coded)))
    if second is not None:
        torch.manual_seed(recipe.seed + 9)  # so that a run stopped between the stages meets the same adversary
        judge = Discriminator(list(HEADS.values()), modules.synthesis.state_dict()["coarse.0.scale"], second.pixels)
        judge = judge.to(run.device)
        game = AdversarialLookStage(f"{recipe.name}-adversarial", model, second, run, seed, coded)
        game.against(judge)
        model = loop.train(prepared(game))
    path = run.folder / f"{recipe.name}.safetensors"
    trained = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    arrays = looks.partway(trained, parts["synthesis"], recipe.share)
    strength = np.array(recipe.strength or [1.0] * model.config.levels, np.float32)
    looks.save(path, looks.Look(NAME, arrays, strength), parts["synthesis"], released.digest_of("synthesis"))
    return path
