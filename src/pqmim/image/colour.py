"""From any mode and colour profile of Pillow to 8-bit sRGB and alpha."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]

REDUCED = "reduced from 16 to 8 bits a channel"


def to_srgb(image: Image.Image, *, keep_profile: bool) -> tuple[Pixels, Pixels | None, bytes, list[str]]:
    """Convert a loaded image of any mode.

    Args:
        image: whose colour profile, if any, is applied.
        keep_profile: leave the colours of an RGB profile as they are, and give it back.

    Returns:
        RGB (H, W, 3) uint8; alpha (H, W) uint8, or None where every pixel is opaque; the profile of the colours,
        empty for sRGB; and one line for each thing that the conversion changed or could not keep.
    """
    notes: list[str] = []
    colours, alpha = _split_alpha(image, notes)
    icc = image.info.get("icc_profile") or b""
    kept = b""
    if icc and colours.mode in ("L", "RGB", "CMYK"):
        converted = _apply_profile(colours, icc, notes)
        if keep_profile and colours.mode == "RGB" and converted is not colours:
            notes.pop()  # that it was converted
            kept = icc
        else:
            colours = converted
    if colours.mode in ("CMYK", "LAB"):
        notes.append(f"converted from {colours.mode} to RGB")
    rgb = np.asarray(colours if colours.mode == "RGB" else colours.convert("RGB"))
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return rgb, alpha, kept, notes


def has_deep_colour(image: Image.Image) -> bool:
    """Whether a file that is opened, but not loaded, holds 16-bit colours: Pillow reduces them as it loads them."""
    if image.mode not in ("LA", "RGB", "RGBA"):
        return False
    for codec, _, _, arguments in getattr(image, "tile", ()):
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        if any(";16" in argument for argument in arguments if isinstance(argument, str)):
            return True
        if codec in ("ppm", "ppm_plain") and arguments[1] > 255:
            return True
    return False


def settle_transparency(image: Image.Image) -> list[str]:
    """Make the one colour that a PNG file names transparent a colour of the pixels that Pillow is about to load.

    Pillow widens grey of 2 and 4 bits, and reduces colours of 16, but leaves that colour as the file has it.

    Returns:
        A line where it is dropped: among reduced pixels others would be taken for it.
    """
    key, raw = image.info.get("transparency"), {tile[3] for tile in getattr(image, "tile", ())}
    if image.format != "PNG" or key is None:
        return []
    if widened := {"L;2": 85, "L;4": 17}.keys() & raw:
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}[widened.pop()]
    if "RGB;16B" not in raw:
        return []
    del image.info["transparency"]
    return ["transparency of one colour of 16 bits dropped"]


def _split_alpha(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Pixels | None]:
    """Colours in mode L, RGB, CMYK or LAB (or what Pillow converts to RGB without loss), and alpha (H, W) or None."""
    if image.mode.startswith(("I", "F")):
        return _deep_grey(image, notes)
    alpha = None
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        alpha = np.asarray(straight.convert("RGBA").getchannel("A"))
    if image.mode in ("1", "L", "LA", "La"):
        grey = image.convert("L") if image.mode == "1" else image.convert("LA").getchannel(0)
        return grey, alpha
    if image.mode in ("P", "PA", "RGBa"):
        return image.convert("RGBA").convert("RGB"), alpha
    if image.mode in ("RGBA", "RGBX"):
        return image.convert("RGB"), alpha
    return image, alpha


def _deep_grey(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Pixels | None]:
    """Grey of 16 or 32 bits to mode L; a pixel of the colour that a PNG names transparent gets alpha 0."""
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else np.where(values == transparent, 0, 255).astype(np.uint8)
    values = np.where(np.isfinite(values), values, 0)
    low, high = _value_range(values, image.mode)
    if high == 65535:
        notes.append(REDUCED)
    else:
        notes.append(f"reduced from 32 to 8 bits a channel, {low:g} as black and {high:g} as white")
    levels = np.rint((values.astype(np.float32) - low) * (255 / (high - low)))
    return Image.fromarray(levels.astype(np.uint8)), alpha


def _value_range(values: np.ndarray, mode: str) -> tuple[float, float]:
    """Black and white of deep grey: the first usual range that holds all the values, else the values' own range."""
    low, high = float(values.min()), float(values.max())
    for white in (1, 255, 65535) if mode == "F" else (65535,):
        if low >= 0 and high <= white:
            return 0, white
    return (low, high) if high > low else (low - abs(low), high)


def _apply_profile(image: Image.Image, icc: bytes, notes: list[str]) -> Image.Image:
    """Mode RGB in sRGB; the image as it came, and a note, where its profile is broken or made for another mode."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = ImageCms.getProfileDescription(profile).strip()
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        notes.append("unreadable colour profile ignored")
        return image
    if _is_srgb(transform, image.mode):
        return image
    notes.append(f"converted from {name or 'its colour profile'} to sRGB")
    return transform.apply(image)


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a profile moves no colour of a lattice by more than one level, as do the many profiles of sRGB itself."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    probe = Image.fromarray(lattice).convert(mode)
    before, after = np.asarray(probe.convert("RGB"), np.int16), np.asarray(transform.apply(probe), np.int16)
    return bool(np.abs(after - before).max() <= 1)
