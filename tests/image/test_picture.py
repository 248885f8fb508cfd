import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from pqmim.errors import InvalidImage
from pqmim.image.picture import read_picture, to_pil

MODES = [
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "I;16B",
    "I;16L",
    "I;16N",
]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in body]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """The profile of sRGB with the primaries of red and blue exchanged, and a name of its own."""
    icc = bytearray(srgb_profile())
    icc[:] = icc.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return bytes(icc)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_becomes_rgb(mode):
    picture = read_picture(Image.new(mode, (5, 3)))
    assert picture.rgb.shape == (3, 5, 3)
    assert picture.rgb.dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_eight_bit_pixels_pass_unchanged(mode):
    image = Image.fromarray(noise(6, 5, 4)).convert(mode)
    picture = read_picture(file_of(image, "PNG"))
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGBA"))[..., :3])
    if mode in ("RGBA", "LA"):
        assert np.array_equal(picture.alpha, np.asarray(image.getchannel("A")))
    assert picture.notes == []


def test_sources_agree(tmp_path):
    rgb = noise(6, 5, 3)
    path = tmp_path / "photo.png"
    path.write_bytes(file_of(Image.fromarray(rgb), "PNG"))
    for source in (path, str(path), path.read_bytes(), Image.fromarray(rgb), rgb, rgb[:, ::-1][:, ::-1]):
        assert np.array_equal(read_picture(source).rgb, rgb)


def test_arrays():
    grey, rgba = noise(4, 3), noise(4, 3, 4)
    picture = read_picture(grey)
    assert np.array_equal(picture.rgb, np.stack([grey] * 3, axis=2)) and picture.alpha is None
    picture = read_picture(rgba)
    assert np.array_equal(picture.rgb, rgba[..., :3]) and np.array_equal(picture.alpha, rgba[..., 3])
    rgba[..., 3] = 255
    assert read_picture(rgba).alpha is None
    with pytest.raises(TypeError, match="uint8, not float64"):
        read_picture(np.zeros((4, 3, 3)))
    with pytest.raises(ValueError, match=r"not \(4, 3, 2\)"):
        read_picture(np.zeros((4, 3, 2), np.uint8))
    for shape in ((4,), (4, 3, 3, 3)):
        with pytest.raises(ValueError, match=r"has the shape \(H, W\)"):
            read_picture(np.zeros(shape, np.uint8))
    with pytest.raises(InvalidImage, match="without pixels"):
        read_picture(np.zeros((0, 3, 3), np.uint8))
    with pytest.raises(TypeError, match="not list"):
        read_picture([1, 2])


def test_opaque_alpha_is_dropped_in_silence():
    image = Image.fromarray(noise(4, 3, 3)).convert("RGBA")
    picture = read_picture(image)
    assert picture.alpha is None and picture.notes == []


def test_palette_with_transparency():
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = read_picture(file_of(image, "PNG", transparency=b"\x00\x80"))
    assert picture.rgb[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert picture.alpha.tolist() == [[0, 128], [0, 0]]


def test_premultiplied_alpha_is_divided_out():
    straight = Image.new("RGBA", (1, 1), (200, 100, 50, 128))
    picture = read_picture(straight.convert("RGBa"))
    assert np.abs(picture.rgb[0, 0].astype(int) - (200, 100, 50)).max() <= 1
    assert picture.alpha[0, 0] == 128


def test_a_transparent_colour_becomes_alpha():
    rows = b"\0\1\2\3\4\5\6"
    picture = read_picture(png(2, 1, 8, 2, rows, (b"tRNS", struct.pack(">HHH", 4, 5, 6))))
    assert picture.alpha.tolist() == [[255, 0]]
    deep = struct.pack(">xHH", 1000, 65535)
    picture = read_picture(png(2, 1, 16, 0, deep, (b"tRNS", struct.pack(">H", 1000))))
    assert picture.alpha.tolist() == [[0, 255]]
    assert picture.rgb[0].tolist() == [[4, 4, 4], [255, 255, 255]]


def test_sixteen_bits_are_scaled_and_told():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 128, 255]
    for source in (
        Image.fromarray(values),
        png(6, 1, 16, 0, b"\0" + values.astype(">u2").tobytes()),
        Image.fromarray(values.astype(np.int32)),
        file_of(Image.fromarray(values), "TIFF"),
    ):
        picture = read_picture(source)
        assert picture.rgb[0, :, 1].tolist() == expected
        assert picture.notes == ["reduced from 16 to 8 bits a channel"]


def test_sixteen_bit_colour_is_told():
    rows = b"\0" + np.array([0, 32768, 65535], ">u2").tobytes()
    for data in (png(1, 1, 16, 2, rows), b"P6 1 1 65535\n" + rows[1:]):
        picture = read_picture(data)
        assert picture.rgb.tolist() == [[[0, 128, 255]]]
        assert picture.notes == ["reduced from 16 to 8 bits a channel"]


@pytest.mark.parametrize(
    "values, levels, note",
    [
        ([0.0, 0.5, 1.0, np.nan], [0, 128, 255, 0], "0 as black and 1 as white"),
        ([0.0, 127.6, 200.0, 255.0], [0, 128, 200, 255], "0 as black and 255 as white"),
        ([-1.0, 0.0, 1.0, np.inf], [0, 128, 255, 128], "-1 as black and 1 as white"),
        ([7e9, 7e9, 7e9, 7e9], [255, 255, 255, 255], "as white"),
    ],
)
def test_float_grey_is_scaled_to_the_range_that_holds_it(values, levels, note):
    picture = read_picture(Image.fromarray(np.array([values], np.float32)))
    assert picture.rgb[0, :, 0].tolist() == levels
    assert picture.notes[0].startswith("reduced from 32 to 8 bits a channel") and picture.notes[0].endswith(note)


@pytest.mark.parametrize(
    "values, levels, note",
    [
        ([-51, 0, 204], [0, 51, 255], "32 to 8 bits a channel, -51 as black and 204 as white"),
        ([0, 1, 65536], [0, 0, 255], "32 to 8 bits a channel, 0 as black and 65536 as white"),
        ([-7, -7, -7], [255, 255, 255], "32 to 8 bits a channel, -14 as black and -7 as white"),
        ([0, 1, 255], [0, 0, 1], "16 to 8 bits a channel"),
    ],
)
def test_whole_numbers_of_32_bits_are_of_16_where_they_fit(values, levels, note):
    picture = read_picture(Image.fromarray(np.array([values], np.int32)))
    assert picture.rgb[0, :, 0].tolist() == levels
    assert picture.notes == [f"reduced from {note}"]


def test_float_grey_up_to_65535_is_of_16_bits():
    picture = read_picture(Image.fromarray(np.array([[0, 256, 65535]], np.float32)))
    assert picture.rgb[0, :, 0].tolist() == [0, 1, 255]
    assert picture.notes == ["reduced from 16 to 8 bits a channel"]


@pytest.mark.parametrize(("most", "told"), [(254, False), (255, False), (256, True)])
def test_a_ppm_is_deep_above_255(most, told):
    plain = b"P3 1 1 %d\n%d 0 %d\n" % (most, most, most)
    sample = most.to_bytes(2 if told else 1, "big")
    for data in (plain, b"P6 1 1 %d\n" % most + sample + bytes(len(sample)) + sample):
        picture = read_picture(data)
        assert picture.rgb.tolist() == [[[255, 0, 255]]]
        assert picture.notes == (["reduced from 16 to 8 bits a channel"] if told else [])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_and_is_no_loss(orientation, format):
    rgb = noise(4, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    picture = read_picture(file_of(Image.fromarray(rgb), format, exif=exif, **options))
    turned = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.swapaxes(0, 1),
        6: np.rot90(rgb, -1),
        7: rgb[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(rgb),
    }
    assert np.array_equal(picture.rgb, turned[orientation])
    assert picture.notes == []


def test_dropped_metadata_is_told():
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    picture = read_picture(file_of(Image.new("RGB", (3, 4)), "PNG", exif=exif))
    assert picture.notes == ["EXIF metadata dropped"]
    picture = read_picture(file_of(Image.new("RGB", (3, 4)), "WEBP", exif=exif, xmp=b"<x/>"))
    assert picture.notes == ["EXIF and XMP metadata dropped"]


def test_only_the_first_frame_is_kept_and_told():
    frames = [Image.fromarray(noise(4, 4, 3, seed=i)).convert("P") for i in range(3)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = read_picture(data)
    assert picture.notes == ["only the first of 3 frames is kept", "converted from a palette to full colour"]
    assert np.array_equal(picture.rgb, np.asarray(frames[0].convert("RGB")))
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        assert read_picture(image).notes[0] == "only frame 2 of 3 frames is kept"


def test_colour_profiles_are_converted():
    rgb = noise(8, 8, 3)
    image = Image.fromarray(rgb)
    unchanged = read_picture(file_of(image, "PNG", icc_profile=srgb_profile()))
    assert np.array_equal(unchanged.rgb, rgb) and unchanged.notes == []
    converted = read_picture(file_of(image, "PNG", icc_profile=swapped_profile()))
    assert np.abs(converted.rgb.astype(int) - rgb[..., ::-1]).max() <= 2
    assert converted.notes == ["converted from sRGB built-in to sRGB"]


def test_a_profile_leaves_alpha_alone():
    rgba = noise(8, 8, 4)
    picture = read_picture(file_of(Image.fromarray(rgba), "PNG", icc_profile=swapped_profile()))
    assert np.array_equal(picture.alpha, rgba[..., 3])
    assert np.abs(picture.rgb.astype(int) - rgba[..., 2::-1]).max() <= 2


@pytest.mark.parametrize("profile", [b"no profile", srgb_profile()[:200]])
def test_a_broken_profile_is_ignored_and_told(profile):
    rgb = noise(5, 5, 3)
    image = Image.fromarray(rgb)
    image.info["icc_profile"] = profile
    picture = read_picture(image)
    assert np.array_equal(picture.rgb, rgb)
    assert picture.notes == ["unreadable colour profile ignored"]


def test_a_profile_of_another_mode_is_ignored_and_told():
    picture = read_picture(file_of(Image.new("L", (4, 4), 99), "PNG", icc_profile=srgb_profile()))
    assert np.all(picture.rgb == 99)
    assert picture.notes == ["unreadable colour profile ignored"]


def test_cmyk_is_converted_and_told():
    picture = read_picture(file_of(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "TIFF"))
    assert np.all(picture.rgb == 255)
    assert picture.notes == ["converted from CMYK to RGB"]


def test_errors_name_the_file(tmp_path):
    text = tmp_path / "photo.txt"
    text.write_text("Not a picture, though it has a long enough text to look at.")
    with pytest.raises(InvalidImage, match=r"photo\.txt: not an image of a format that is read \(PNG, "):
        read_picture(text)
    with pytest.raises(InvalidImage, match=r"none\.png: cannot be read: No such file or directory$"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(InvalidImage, match="cannot be read: Is a directory"):
        read_picture(tmp_path)
    with pytest.raises(InvalidImage, match="^not an image"):
        read_picture(b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"])
def test_cut_files_are_invalid(tmp_path, format):
    data = file_of(Image.fromarray(noise(40, 40, 3)), format)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidImage, match=r"cut\.img: (damaged|not an image)"):
        read_picture(path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "ICO", "PPM", "TGA"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_nothing_but_invalid_image(format):
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    extra = {"exif": exif, "icc_profile": srgb_profile()} if format in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    data = file_of(Image.fromarray(noise(16, 16, 3)), format, **extra)
    refused = []
    for _ in range(30):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 300), 3):
            damaged[position] = rng.integers(256)
        try:
            assert read_picture(bytes(damaged)).rgb.ndim == 3
        except InvalidImage as error:
            refused.append(str(error))
    beginnings = ("damaged", "not an image", "too large", "a picture without")
    assert format == "GIF" or refused  # Pillow shows whatever is left of a GIF
    assert all(text.startswith(beginnings) for text in refused)


def test_pillows_own_limit_neither_warns_nor_stays_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for format in ("PNG", "TIFF", "GIF"):
            assert read_picture(file_of(Image.new("RGB", (40, 30)), format)).rgb.shape == (30, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.mark.parametrize("width, height", [(65537, 1), (1 << 17, 1 << 17), (40000, 50000)])
def test_absurd_sizes_are_refused_before_anything_is_allocated(width, height):
    with pytest.raises(InvalidImage, match="too large"):
        read_picture(png(width, height, 8, 2, b""))


def test_a_users_image_is_not_changed():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(file_of(Image.new("RGB", (3, 4)), "PNG", exif=exif))) as image:
        assert read_picture(image).rgb.shape == (3, 4, 3)
        assert image.size == (3, 4)
        assert read_picture(image).rgb.shape == (3, 4, 3)


def test_an_image_whose_file_is_closed_can_still_be_read():
    for format in ("GIF", "TIFF", "PNG", "JPEG"):
        with Image.open(io.BytesIO(file_of(Image.new("RGB", (3, 4)), format))) as image:
            image.load()
        assert read_picture(image).rgb.shape == (4, 3, 3)


def test_to_pil():
    rgba = noise(4, 3, 4)
    assert to_pil(rgba[..., :3]).mode == "RGB"
    image = to_pil(rgba[..., :3], rgba[..., 3])
    assert image.mode == "RGBA" and np.array_equal(np.asarray(image), rgba)


@pytest.mark.parametrize(
    ("depth", "row", "key", "alpha"),
    [
        (2, bytes([0b00011011]), 1, [255, 0, 255, 255]),
        (4, bytes([0x05, 0x5F]), 5, [255, 0, 0, 255]),
        (8, bytes([5, 6]), 5, [0, 255]),
    ],
)
def test_the_colour_that_a_png_names_transparent(depth, row, key, alpha):
    data = png(8 * len(row) // depth, 1, depth, 0, b"\0" + row, (b"tRNS", struct.pack(">H", key)))
    found = read_picture(data)
    assert found.alpha is not None and found.alpha.ravel().tolist() == alpha and found.notes == []


def test_one_colour_of_16_bits_cannot_be_told_from_others():
    row = struct.pack(">6H", 768, 768, 768, 3, 3, 3)
    data = png(2, 1, 16, 2, b"\0" + row, (b"tRNS", struct.pack(">3H", 3, 3, 3)))
    found = read_picture(data)
    assert found.alpha is None and "transparency of one colour of 16 bits dropped" in found.notes
