"""EXIF, XMP and profiles: kept when asked for, told when dropped, upright in either case."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from pqmim.errors import OutputError
from pqmim.image.metadata import Metadata, options
from pqmim.image.picture import read_picture
from pqmim.image.save import encode

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
UPRIGHT = XMP.replace(b'"6"', b'"1"')


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[ExifTags.Base.Make], found[ExifTags.Base.Orientation] = "a maker", orientation
    return found


@functools.cache  # a new one would have another date
def wide_profile() -> bytes:
    """An RGB profile whose primaries are not those of sRGB: red and blue are exchanged."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return icc.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def picture_of(format: str, **extra) -> bytes:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format, **extra)
    return buffer.getvalue()


def make(exif_bytes: bytes) -> tuple[object, object]:
    found = Image.Exif()
    found.load(exif_bytes)
    return found.get(ExifTags.Base.Make), found.get(ExifTags.Base.Orientation)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_is_kept_upright(format):
    picture = read_picture(picture_of(format, exif=exif(6)), keep_metadata=True)
    assert picture.rgb.shape == (3, 4, 3)
    assert make(picture.metadata.exif)[0] == "a maker" and make(picture.metadata.exif)[1] in (1, None)
    assert picture.metadata.exif[:2] in (b"II", b"MM") and picture.notes == []


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_is_not_asked_for_is_told(format):
    picture = read_picture(picture_of(format, exif=exif()))
    assert not picture.metadata and picture.notes == ["EXIF metadata dropped"]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
def test_xmp_is_kept_upright(format):
    extra = {"xmp": XMP}
    if format == "PNG":
        extra = {"pnginfo": PngImagePlugin.PngInfo()}
        extra["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    picture = read_picture(picture_of(format, exif=exif(6), **extra), keep_metadata=True)
    assert picture.metadata.xmp == UPRIGHT
    assert read_picture(picture_of(format, **extra)).notes == ["XMP metadata dropped"]


def test_a_kept_profile_leaves_colours_as_they_are():
    data = picture_of("PNG", icc_profile=wide_profile())
    plain, kept, converted = read_picture(picture_of("PNG")), read_picture(data, keep_metadata=True), read_picture(data)
    assert np.array_equal(kept.rgb, plain.rgb) and kept.metadata.icc == wide_profile() and kept.notes == []
    assert not np.array_equal(converted.rgb, plain.rgb) and not converted.metadata.icc
    assert converted.notes == ["converted from sRGB built-in to sRGB"]


def test_srgb_needs_no_profile():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert not read_picture(picture_of("PNG", icc_profile=icc), keep_metadata=True).metadata.icc


@pytest.mark.parametrize("keep", [True, False])
def test_text_is_told_always(keep):
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    assert read_picture(picture_of("PNG", pnginfo=info), keep_metadata=keep).notes == ["text metadata dropped"]
    assert read_picture(picture_of("JPEG", comment="a word"), keep_metadata=keep).notes == ["text metadata dropped"]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".avif", ".tiff"])
def test_metadata_is_written_where_the_format_keeps_it(ending):
    found = read_picture(picture_of("JPEG", exif=exif(), xmp=UPRIGHT, icc_profile=wide_profile()), keep_metadata=True)
    image = Image.fromarray(found.rgb)
    found.metadata.attach(image)
    data, notes = encode(image, ending)
    again = read_picture(data, keep_metadata=True)
    assert make(again.metadata.exif)[0] == "a maker" and again.metadata.icc == wide_profile()
    assert notes == (["XMP dropped, since TIFF keeps none"] if ending == ".tiff" else [])
    assert again.metadata.xmp == (b"" if ending == ".tiff" else UPRIGHT)


def test_what_a_format_cannot_keep_is_told():
    image = Image.new("RGB", (3, 4))
    Metadata(exif=b"MM", icc=b"profile", xmp=b"<x/>").attach(image)
    assert options(image, "PPM") == ({}, ["EXIF and XMP and colour profile dropped, since PPM keeps none"])
    assert encode(Image.new("RGB", (3, 4)), ".ppm")[1] == []


@pytest.mark.parametrize("field", ["exif", "icc", "xmp"])
def test_one_of_them_is_metadata(field):
    assert Metadata(**{field: b"something"}) and not Metadata(**{field: b""})


def test_of_a_tiff_what_tells_of_the_photo_is_kept_and_how_it_holds_its_pixels_is_not():
    found = TiffImagePlugin.ImageFileDirectory_v2()
    texts = {270: "a title", 271: "a maker", 272: "a model", 305: "a program", 315: "a person", 33432: "a right"}
    for tag, text in {**texts, 306: "2020:01:02 03:04:05"}.items():
        found[tag] = text
    found[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2019:01:02 03:04:05"}
    found[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    found[282], found[283] = 72.0, 72.0  # pixels an inch
    kept = Image.Exif()
    kept.load(read_picture(picture_of("TIFF", tiffinfo=found), keep_metadata=True).metadata.exif)
    assert {tag: kept[tag] for tag in texts} == texts and kept[306] == "2020:01:02 03:04:05"
    assert set(kept) == {*texts, 306, 34665, 34853}
    assert kept.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.DateTimeOriginal: "2019:01:02 03:04:05"}
    assert kept.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize(("tag", "value"), [(256, 9), (257, 9), (262, 6), (274, 6), (284, 2), (338, 1), (339, 3)])
def test_exif_says_nothing_of_how_a_tiff_holds_its_pixels(tag, value):
    found = exif()
    found[tag] = value
    rgb = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    Metadata(exif=found.tobytes().removeprefix(b"Exif\0\0")).attach(image)
    data, notes = encode(image, ".tiff")
    with Image.open(io.BytesIO(data)) as again:
        assert np.array_equal(np.asarray(again), rgb) and notes == []
        assert again.getexif()[ExifTags.Base.Make] == "a maker"


@pytest.mark.parametrize(("field", "room"), [("exif", 65527), ("xmp", 65504)])
def test_a_segment_of_a_jpeg_file_has_an_end(field, room):
    name = {"exif": "EXIF", "xmp": "XMP"}[field]
    for size, expected in ((room, []), (room + 1, [f"{name} dropped, since JPEG keeps no more than 64 kB of it"])):
        image = Image.new("RGB", (4, 3))
        Metadata(**{field: bytes(size)}).attach(image)
        data, notes = encode(image, ".jpg")
        assert notes == expected
        with Image.open(io.BytesIO(data)) as again:
            assert bool(again.info.get(field)) == (not expected)
        assert encode(image, ".png")[1] == []


@pytest.mark.parametrize("broken", [b"", b"no exif", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_broken_exif_is_dropped_when_turned(broken):
    assert Metadata(exif=broken).upright().exif == b""


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_does_not_keep_a_picture_from_being_read(keep):
    data = bytearray(picture_of("JPEG", exif=exif(6)))
    place = data.index(b"Exif\0\0") + 10
    data[place : place + 4] = b"\xff\xff\xff\xff"
    picture = read_picture(bytes(data), keep_metadata=keep)
    assert sorted(picture.rgb.shape) == [3, 3, 4]


def with_exif(data: bytes, exif_bytes: bytes) -> bytes:
    """A PNG with an eXIf chunk of these bytes after its header."""
    chunk = b"eXIf" + exif_bytes
    framed = struct.pack(">I", len(exif_bytes)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + framed + data[33:]


@pytest.mark.parametrize("junk", [b"junk instead of a header", b"MM\0*"])
def test_exif_without_a_header_is_dropped_and_told(junk):
    data = picture_of("PNG")
    for keep in (False, True):
        picture = read_picture(with_exif(data, junk), keep_metadata=keep)
        assert np.array_equal(picture.rgb, read_picture(data).rgb)
        assert picture.metadata.exif == b"" and picture.notes == ["EXIF metadata dropped"]


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on the end
def test_exif_that_ends_early_is_kept_where_nothing_is_turned():
    cut = b"II*\0\x08\0\0\0\2\0" + b"\x0f\1\2\0\2\0\0\0ab\0\0"  # one entry of two
    assert read_picture(with_exif(picture_of("PNG"), cut), keep_metadata=True).metadata.exif == cut


@pytest.mark.parametrize("junk", [b"junk instead of a header", b"MM\0*"])
def test_exif_that_cannot_be_written_is_one_sentence(junk):
    image = Image.new("RGB", (3, 4))
    Metadata(exif=junk).attach(image)
    with pytest.raises(OutputError, match="cannot be written as TIFF"):
        encode(image, ".tif")


@pytest.mark.parametrize(
    "exif_bytes",
    [
        b"II*\0\x08\0\0\0\x01\0\x12\1\3\0\1\0\0\0\6\0\0\0",  # ends with its only entry
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0 and more",
    ],
)
def test_only_the_orientation_changes(exif_bytes):
    turned = Metadata(exif=exif_bytes).upright().exif
    assert turned == exif_bytes.replace(b"\6", b"\1")
    assert not Metadata(exif=exif_bytes).says_more_than_orientation()


def test_an_orientation_that_is_cut_off_changes_nothing():
    whole = b"II*\0\x08\0\0\0\x01\0\x12\1\3\0\1\0\0\0\6\0\0\0"
    for end in (12, len(whole) - 4, len(whole) - 1):
        assert Metadata(exif=whole[:end]).upright().exif == whole[:end]


def test_the_orientation_may_come_after_other_entries():
    entries = [b"\1\x0f\0\2\0\0\0\2ab\0\0", b"\1\x12\0\3\0\0\0\1\0\6\0\0", b"\1\x1a\0\3\0\0\0\1\0\6\0\0"]
    exif_bytes = b"MM\0*\0\0\0\x0a" + b"\0\0" + b"\0\3" + b"".join(entries)
    turned = Metadata(exif=exif_bytes).upright().exif
    assert turned == exif_bytes.replace(entries[1], entries[1].replace(b"\6", b"\1"))
    assert Metadata(exif=exif_bytes).says_more_than_orientation()
