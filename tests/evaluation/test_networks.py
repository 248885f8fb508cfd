"""Networks of random weights against plain definitions; none of the real weights is needed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from pqmim.errors import MissingPackage, WeightsError
from pqmim.evaluation.networks import (
    EFFICIENTNET_STAGES,
    MOBILENET_STAGES,
    EfficientNetLite0,
    MobileNetV2,
    ScriptedNetwork,
    ShiftTolerantLpips,
    packaged,
)

CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of EfficientNet-Lite0's stages
VGG = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
NAMES = (("0", "2"), ("6", "8"), ("12", "14", "16"), ("20", "22", "24"), ("28", "30", "32"))


def he(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 65, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    g = torch.Generator().manual_seed(0)
    shapes = [(32, 3, 3, 3), (32, 1, 3, 3), (16, 32, 1, 1)]
    inputs = 16
    for channels, repetitions, _ in MOBILENET_STAGES:
        for _ in range(repetitions):
            wide = 6 * inputs
            shapes += [(wide, inputs, 1, 1), (wide, 1, 3, 3), (channels, wide, 1, 1)]
            inputs = channels
    shapes.append((1280, 320, 1, 1))
    tensors = {f"conv{i:02}.weight": he(g, *shape) for i, shape in enumerate(shapes)}
    tensors |= {f"conv{i:02}.bias": 0.1 * torch.randn(shape[0], generator=g) for i, shape in enumerate(shapes)}
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    save_file(tensors, path)
    return path, tensors


def test_mobilenet_is_52_convolutions(mobilenet, pictures):
    """Against a plain reading: strides where the published table has them, a sum where shapes allow."""
    path, t = mobilenet
    x = (pictures.double() / 255 - torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)) / torch.tensor(
        (0.229, 0.224, 0.225)
    ).view(3, 1, 1)
    strides = {0: 2, 4: 2, 10: 2, 19: 2, 40: 2}
    kept = x
    for i in range(52):
        weight, bias = t[f"conv{i:02}.weight"].double(), t[f"conv{i:02}.bias"].double()
        depthwise = weight.shape[1] == 1
        if i >= 3 and (i - 3) % 3 == 0:
            kept = x
        x = F.conv2d(x, weight, bias, strides.get(i, 1), weight.shape[-1] // 2, groups=len(weight) if depthwise else 1)
        linear = i == 2 or (i > 2 and (i - 3) % 3 == 2)
        if not linear:
            x = x.clamp(0, 6)
        elif i > 2 and kept.shape == x.shape:
            x = x + kept
    found = MobileNetV2(path)(pictures)
    assert found.shape == (2, 1280)
    assert torch.allclose(found.double(), x.mean((2, 3)), rtol=1e-3, atol=1e-4)


def test_other_files_are_no_mobilenet(tmp_path, mobilenet):
    (tmp_path / "a").write_text("no weights")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        MobileNetV2(tmp_path / "a")
    save_file({"conv00.weight": torch.zeros(1)}, tmp_path / "b")
    with pytest.raises(WeightsError, match="52 convolutions"):
        MobileNetV2(tmp_path / "b")
    with pytest.raises(WeightsError, match="cannot be read"):
        MobileNetV2(tmp_path / "c")


def efficientnet_tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def norm(name: str, channels: int) -> None:
        tensors[f"{name}.weight"] = 1 + 0.1 * torch.rand(channels, generator=g)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=g)
        tensors[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=g)
        tensors[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=g)

    tensors["_conv_stem.weight"] = he(g, 32, 3, 3, 3)
    norm("_bn0", 32)
    inputs, block = 32, 0
    for outputs, (repetitions, _, kernel) in zip(CHANNELS, EFFICIENTNET_STAGES, strict=True):
        for _ in range(repetitions):
            name, wide = f"_blocks.{block}", inputs * (6 if block else 1)
            if block:
                tensors[f"{name}._expand_conv.weight"] = he(g, wide, inputs, 1, 1)
                norm(f"{name}._bn0", wide)
            tensors[f"{name}._depthwise_conv.weight"] = he(g, wide, 1, kernel, kernel)
            norm(f"{name}._bn1", wide)
            tensors[f"{name}._project_conv.weight"] = he(g, outputs, wide, 1, 1)
            norm(f"{name}._bn2", outputs)
            inputs, block = outputs, block + 1
    tensors["_conv_head.weight"] = he(g, 1280, 320, 1, 1)
    norm("_bn1", 1280)
    tensors |= {"_fc.weight": he(g, 1000, 1280), "_fc.bias": torch.zeros(1000)}
    return tensors


def test_efficientnet_pads_as_tensorflow_does(tmp_path, pictures):
    """Against batch normalisation as torch has it, and padding written out: what is odd goes right and down."""
    t = efficientnet_tensors()
    torch.save(t, tmp_path / "lite0.pth")
    network = EfficientNetLite0(tmp_path / "lite0.pth")

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        weight = t[f"{conv}.weight"]
        for dim in (2, 3):
            side, kernel = x.shape[dim], weight.shape[dim]
            total = max((int(np.ceil(side / stride)) - 1) * stride + kernel - side, 0)
            pad = (total // 2, total - total // 2)
            x = F.pad(x, (0, 0, *pad) if dim == 2 else (*pad, 0, 0))
        x = F.conv2d(x, weight, None, stride, groups=x.shape[1] // weight.shape[1])
        parts = (t[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = layer((pictures.float() - 127) / 128, "_conv_stem", "_bn0", 2).clamp(0, 6)
    strides = dict.fromkeys((1, 3, 5, 11), 2)
    for block in range(16):
        name, inner = f"_blocks.{block}", x
        if block:
            inner = layer(inner, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
        inner = layer(inner, f"{name}._depthwise_conv", f"{name}._bn1", strides.get(block, 1)).clamp(0, 6)
        inner = layer(inner, f"{name}._project_conv", f"{name}._bn2")
        x = inner + x if inner.shape == x.shape else inner
    expected = layer(x, "_conv_head", "_bn1").clamp(0, 6).mean((2, 3))
    assert torch.allclose(network(pictures), expected, rtol=1e-3, atol=1e-4)
    del t["_bn1.running_var"]
    torch.save(t, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match="_bn1.running_var"):
        EfficientNetLite0(tmp_path / "cut.pth")


def test_efficientnet_guesses_by_the_middle_of_a_picture(tmp_path):
    """Against its features of the same 224 pixels square; what lies outside of them changes nothing."""
    t = efficientnet_tensors()
    torch.save(t, tmp_path / "lite0.pth")
    network = EfficientNetLite0(tmp_path / "lite0.pth")
    picture = torch.randint(0, 256, (3, 256, 400), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    logits = network(picture[None, :, 16:240, 88:312]) @ t["_fc.weight"].T
    found = network.guesses(picture)
    assert sorted(found) == list(range(1000)) and found[:5] == logits[0].topk(5).indices.tolist()
    around = picture.clone()
    around[:, :16], around[..., 312:] = 0, 255
    assert network.guesses(around) == found
    assert network.guesses(255 - picture) != found


def lpips_tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    tensors = {
        "scaling_layer.shift": torch.tensor([-0.03, -0.088, -0.188]).view(1, 3, 1, 1),
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.45]).view(1, 3, 1, 1),
    }
    for i, (channels, names) in enumerate(zip(VGG, NAMES, strict=True), 1):
        for inputs, outputs, name in zip(channels, channels[1:], names, strict=False):
            tensors[f"net.slice{i}.{name}.weight"] = he(g, outputs, inputs, 3, 3)
            tensors[f"net.slice{i}.{name}.bias"] = 0.1 * torch.randn(outputs, generator=g)
        if i > 1:
            kernel = torch.tensor([1.0, 2.0, 1.0])
            blur = (kernel[:, None] * kernel / 16).expand(channels[0], 1, 3, 3).clone()
            tensors[f"net.slice{i}.{(5, 11, 19, 27)[i - 2]}.filt"] = blur
        tensors[f"lin{i - 1}.model.1.weight"] = torch.rand(1, channels[-1], 1, 1, generator=g) / channels[-1]
    return tensors


def test_shift_tolerant_lpips(tmp_path, pictures):
    tensors = lpips_tensors()
    torch.save(tensors, tmp_path / "vgg.pth")
    measure = ShiftTolerantLpips(tmp_path / "vgg.pth")
    a, b = measure.features(pictures[0]), measure.features(pictures[1])
    sides = [tuple(x.shape[1:]) for x in a]
    assert sides[0] == (65, 96) and sides[1] == (33, 49)  # max of 2 without stride, 2 reflected each side, stride 2
    assert all(torch.allclose(x.square().sum(0), torch.ones(x.shape[1:]), atol=1e-4) for x in a)
    expected = sum(
        float((tensors[f"lin{i}.model.1.weight"][0] * (x - y) ** 2).sum(0).mean())
        for i, (x, y) in enumerate(zip(a, b, strict=True))
    )
    assert measure.between(a, b) == pytest.approx(expected) and expected > 0
    assert measure.between(a, a) == 0
    del tensors["lin3.model.1.weight"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match="lin3"):
        ShiftTolerantLpips(tmp_path / "cut.pth")


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("trapped",)

    torch.save({"a": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="no file of PyTorch's weights"):
        ShiftTolerantLpips(tmp_path / "trap.pth")


class Stub(torch.nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        means = x.float().mean([2, 3])
        return means if return_features else means[:, :1]


class Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean([2, 3])[:, :, None, None]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", [Stub, Plain])
def test_the_users_own_network(tmp_path, pictures, module):
    torch.jit.script(module()).save(tmp_path / "inception.pt")
    network = ScriptedNetwork(tmp_path / "inception.pt")
    assert network.name == "Inception"
    assert torch.equal(network(pictures), pictures.float().mean((2, 3)))
    (tmp_path / "text.pt").write_text("no module")
    with pytest.raises(WeightsError, match="no TorchScript"):
        ScriptedNetwork(tmp_path / "text.pt")


def test_packages_that_are_missing_say_how_to_get_them():
    with pytest.raises(MissingPackage, match=r"pip install '\.\[perceptual\]'"):
        packaged("no_such_package_anywhere", "file")
    assert packaged("numpy", "core").name == "core"
