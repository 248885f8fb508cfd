"""The networks of a release as torch modules, and back to arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig


@dataclass(frozen=True)
class Modules:
    """Transforms and quantizer, in evaluation mode and without gradients."""

    analysis: Analysis
    quantizer: ProductQuantizer
    synthesis: Synthesis

    @classmethod
    @torch.inference_mode(False)  # whoever refines codes follows gradients through them
    def build(
        cls,
        sizes: Mapping[str, float],
        dimensions: Sequence[int],
        codewords: int,
        tensors: Mapping[str, Mapping[str, NDArray[Any]]],
        device: str | torch.device = "cpu",
    ) -> "Modules":
        """Modules of the arrays of a release.

        Args:
            sizes: fields of `TransformConfig`.
            dimensions: channels of each sub-quantizer.
            codewords: of each sub-quantizer.
            tensors: by name, for `analysis`, `quantizer` and `synthesis`.
            device: where they go.

        Raises:
            RuntimeError: names or shapes do not fit.
        """
        config = TransformConfig(**sizes)  # type: ignore[arg-type]  # fields are checked by name
        with torch.device("cpu"):
            quantizer = ProductQuantizer(torch.arange(config.latent), list(dimensions), codewords, config.levels)
            built = cls(Analysis(config), quantizer, Synthesis(config))
        for name, module in built._named().items():
            module.float()  # whatever the default type is
            _fill(module, tensors[name], strict=name != "quantizer")
            module.eval().requires_grad_(False).to(device)
        return built

    def arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The arrays of which `build` makes the same again."""
        return {
            name: {key: tensor.detach().cpu().numpy() for key, tensor in module.state_dict().items()}
            for name, module in self._named().items()
        }

    def _named(self) -> dict[str, nn.Module]:
        return {"analysis": self.analysis, "quantizer": self.quantizer, "synthesis": self.synthesis}


def _fill(module: nn.Module, arrays: Mapping[str, NDArray[Any]], strict: bool) -> None:
    own = module.state_dict()
    module.load_state_dict({name: torch.tensor(array).to(own[name].dtype) for name, array in arrays.items()}, strict)
