"""The integer prior once more, in plain NumPy int64: slow, literal, and sharing no code with the package.

Follows `docs/FORMAT.md`. `random_tensors` makes release tensors of any size, extreme ones included.
"""

import numpy as np

WINDOW = 8


def shifted(total, shift):
    return total >> shift


def clip8(x):
    return np.clip(x, -127, 127)


def linear(tensors, name, x, rows=slice(None)):
    weight = tensors[f"{name}.weight"].astype(np.int64)[rows]
    x = np.pad(x, ((0, 0), (0, weight.shape[1] - x.shape[1])))
    return shifted(
        x @ weight.T + tensors[f"{name}.bias"].astype(np.int64)[rows], tensors[f"{name}.shift"].astype(np.int64)[rows]
    )


def activation(x):
    return clip8((x + 8) >> 4)


def depthwise(tensors, index, h):
    kernel = tensors[f"{index}.depthwise.weight"].astype(np.int64)  # (d, 9)
    shift = tensors[f"{index}.depthwise.shift"].astype(np.int64)
    height, width, _ = h.shape
    padded = np.pad(h, ((1, 1), (1, 1), (0, 0)))
    total = np.zeros_like(h)
    for tap in range(9):
        row, column = divmod(tap, 3)
        total += padded[row : row + height, column : column + width] * kernel[:, tap]
    return shifted(total + ((1 << shift) >> 1), shift)


def attend(tensors, index, h):
    height, width, depth = h.shape
    bias = tensors[f"{index}.bias"].astype(np.int64)  # (heads, 225)
    heads, offset = len(bias), index % 2 * 4
    qkv = clip8(linear(tensors, f"{index}.qkv", h.reshape(-1, depth))).reshape(height, width, 3, heads, depth // heads)
    out = np.zeros((height, width, heads, depth // heads), np.int64)
    tiles = {}
    for y in range(height):
        for x in range(width):
            tiles.setdefault(((y + offset) // WINDOW, (x + offset) // WINDOW), []).append((y, x))
    for places in tiles.values():
        ys, xs = np.array(places).T
        dy, dx = ys[:, None] - ys[None] + 7, xs[:, None] - xs[None] + 7
        for head in range(heads):
            q, k, v = (qkv[ys, xs, part, head] for part in range(3))
            score = q @ k.T + bias[head][dy * 15 + dx]
            t = np.minimum((score.max(1, keepdims=True) - score) >> 3, 4095)
            weight = (512 - (t & 255)) >> ((t >> 8) + 1)
            total = weight.sum(1, keepdims=True)
            out[ys, xs, head] = (2 * (weight @ v) + total) // (2 * total)
    return out.reshape(-1, depth)


def tokens(tensors, codes, known, quality, blocks=None):
    """codes, known (h, w, M) to hidden states (h, w, d), after the first `blocks` blocks."""
    height, width, size = codes.shape
    dimensions = tensors["dimensions"].astype(int)
    feature = tensors["feature"].astype(np.int64)
    seen = known.reshape(-1, size).astype(np.int64)
    flat = codes.reshape(-1, size)
    values = np.concatenate([feature[m, flat[:, m], :d] * seen[:, m : m + 1] for m, d in enumerate(dimensions)], 1)
    x = (
        linear(tensors, "embed", np.concatenate([values, abs(values), seen * 64], 1))
        + tensors["level"].astype(np.int64)[quality]
    )
    x = x.reshape(height, width, -1)
    depth = x.shape[-1]
    for index in range(sum(name.endswith(".qkv.weight") for name in tensors) if blocks is None else blocks):
        x = x + depthwise(tensors, index, activation(x))
        x = x + linear(tensors, f"{index}.attended", attend(tensors, index, activation(x))).reshape(x.shape)
        a, b = np.split(clip8(linear(tensors, f"{index}.expand", activation(x).reshape(-1, depth))), 2, axis=1)
        x = x + linear(tensors, f"{index}.reduce", activation(np.maximum(a, 0) * b)).reshape(x.shape)
    return activation(x)


def isqrt(values):
    import math

    return np.array([math.isqrt(int(v)) for v in values.ravel()], np.int64).reshape(values.shape)


def exp2(t):
    fraction = t & 255
    parabola = 32768 - ((fraction * (21634 * 4 - ((fraction * 5250) >> 6))) >> 10)
    return parabola >> (t >> 8)


def tables(tensors, hidden, coded, temperature=16):
    """Cumulative frequencies (N, K + 1) of each sub-quantizer in `coded` at hidden states (N, d)."""
    dimensions = tensors["dimensions"].astype(int)
    found = []
    for m in coded:
        first, d = dimensions[:m].sum(), dimensions[m]
        rows = slice(first, first + d)
        mean = np.clip(linear(tensors, "mean", hidden, rows), -4080, 4080)
        beta = np.array([round(2 ** (16 + s / 16)) for s in range(-256, 97)])[
            np.clip(linear(tensors, "precision", hidden, rows), -256, 96) + 256
        ]
        words = tensors["codebook"].astype(np.int64)[m, :, :d]  # (K, d)
        distance = (beta[:, None] * (words[None] - mean[:, None]) ** 2).sum(-1)
        energy = isqrt(65536 + 2 * (distance >> 8)) - 256
        rank = tensors["term"].shape[1]
        free = clip8(linear(tensors, "free", hidden, slice(m * rank, (m + 1) * rank)))
        logits = free @ tensors["term"].astype(np.int64)[m] + tensors["static"].astype(np.int64)[m] - energy
        deficit = (logits.max(1, keepdims=True) - logits) * 16 // temperature
        mass = exp2(np.minimum(deficit, 4095)).cumsum(1)
        codewords = logits.shape[1]
        inner = mass * (65536 - codewords) // mass[:, -1:]
        found.append(np.pad(inner, ((0, 0), (1, 0))) + np.arange(codewords + 1))
    return found


def random_tensors(
    seed, *, dimensions=(1, 1, 2, 3), codewords=16, width=32, heads=2, hidden=24, blocks=2, rank=4, extreme=False
):
    """Release tensors of the integer prior; `extreme` puts every weight at +-127."""
    rng = np.random.default_rng(seed)
    size, channels = len(dimensions), sum(dimensions)

    def int8(*shape):
        return (
            rng.choice([-127, 127], shape) if extreme else np.clip(rng.normal(0, 35, shape).round(), -127, 127)
        ).astype(np.int8)

    def layer(name, outputs, inputs, low, pad=0):
        shift = rng.integers(low, low + 4, outputs)
        return {
            f"{name}.weight": np.pad(int8(outputs, inputs), ((0, 0), (0, pad))),
            f"{name}.bias": rng.integers(-3000, 3000, outputs).astype(np.int32),
            f"{name}.shift": shift.astype(np.int8),
        }

    used = np.arange(max(dimensions)) < np.array(dimensions)[:, None]
    tensors = {
        "dimensions": np.array(dimensions, np.int16),
        "codebook": (
            rng.integers(-4080 if extreme else -200, 4081 if extreme else 200, (size, codewords, max(dimensions)))
            * used[:, None]
        ).astype(np.int16),
        "feature": (int8(size, codewords, max(dimensions)) * used[:, None]).astype(np.int8),
        "level": rng.integers(-500, 500, (101, width)).astype(np.int32),
        "term": int8(size, rank, codewords),
        "static": rng.integers(-2000, 2000, (size, codewords)).astype(np.int16),
    }
    inputs = 2 * channels + size
    tensors |= layer("embed", width, inputs, 2, pad=-inputs % 8)
    tensors |= (
        layer("mean", channels, width, 4)
        | layer("precision", channels, width, 6)
        | layer("free", size * rank, width, 6)
    )
    for index in range(blocks):
        tensors[f"{index}.depthwise.weight"] = int8(width, 9)
        tensors[f"{index}.depthwise.shift"] = rng.integers(0, 6, width).astype(np.int8)
        tensors[f"{index}.bias"] = rng.integers(-4000, 4000, (heads, 225)).astype(np.int32)
        tensors |= layer(f"{index}.qkv", 3 * width, width, 4) | layer(f"{index}.attended", width, width, 2)
        tensors |= layer(f"{index}.expand", 2 * hidden, width, 4) | layer(f"{index}.reduce", width, hidden, 2)
    return tensors


def random_codes(seed, tensors, height, width):
    rng = np.random.default_rng(seed)
    size, codewords, _ = tensors["codebook"].shape
    return rng.integers(0, codewords, (height, width, size)).astype(np.uint8), rng.random(
        (height, width, size)
    ) < rng.random()
