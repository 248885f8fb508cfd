"""The Pillow plug-in: `import pqmim.pillow` lets `Image.open` and `Image.save` work with .pqm files.

Opening reads the header alone and imports no torch; the picture is decoded when its pixels are wanted.
"""

from typing import IO, Any

from PIL import Image, ImageFile

from pqmim.bitstream.container import Tag, read
from pqmim.bitstream.header import begins
from pqmim.errors import PqmimError
from pqmim.image.metadata import Metadata

FORMAT, MIME, ENDING = "PQM", "image/x-pqm", ".pqm"

OPTIONS = ("quality", "size", "bpp", "psnr", "msssim", "effort", "max_pixels", "keep_metadata", "verify")
"""What `save` passes on to `Codec.encode`. Others, which applications give to every format, are left out."""


class PqmImageFile(ImageFile.ImageFile):
    """A .pqm file that is not decoded until its pixels are wanted.

    `info` holds `quality`, `bpp` and, where the file carries them, `exif`, `icc_profile` and `xmp`; once it is decoded,
    `notes`.
    """

    format = FORMAT
    format_description = "pqmim, a learned image codec"

    _data: bytes | None = None  # copies and unpickled images have their pixels, and no file

    def _open(self) -> None:
        assert self.fp is not None
        data = self.fp.read()
        try:
            container = read(data)
        except PqmimError as error:
            raise SyntaxError(str(error)) from error  # Pillow tries its other formats
        header = container.header
        self._data = data
        self._size = (header.width, header.height)
        self._mode = "RGBA" if Tag.ALPHA in container.chunks else "RGB"
        self.info["quality"] = header.quality
        self.info["bpp"] = 8 * len(data) / (header.width * header.height)
        exif, icc, xmp = (container.chunks.get(tag, b"") for tag in (Tag.EXIF, Tag.ICC, Tag.XMP))
        Metadata(exif, icc, xmp).attach(self)

    def load(self) -> Any:
        """Decode the file, where that was not done yet.

        Raises:
            OSError: it is damaged, or needs other weights or a newer pqmim.
        """
        if self._data is not None:
            try:
                rendered = _codec().render(_codec().receive(self._data))
            except PqmimError as error:
                raise OSError(str(error)) from error
            self.im = rendered.image.im
            self._mode = rendered.image.mode
            self.info["notes"] = list(rendered.notes)
            self._data = None
            if self.fp is not None and getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Compare the bytes with their check, where the file has one.

        Raises:
            OSError: they do not match.
        """
        if self._data is not None and read(self._data).intact is False:
            raise OSError("the file is cut or damaged: its check fails")
        super().verify()

    def load_seek(self, pos: int) -> None:
        """Nothing: all bytes were read at once."""


def register() -> None:
    """Tell Pillow of the format; as often as one likes."""
    Image.register_open(FORMAT, PqmImageFile, begins)  # of 16 bytes: the magic alone says little
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ENDING)
    Image.register_mime(FORMAT, MIME)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    options = {name: image.encoderinfo[name] for name in OPTIONS if image.encoderinfo.get(name) is not None}
    try:
        encoded = _codec().encode(image, **options)
    except PqmimError as error:
        raise OSError(str(error)) from error
    fp.write(encoded.data)


def _codec() -> Any:
    """The codec of the process."""
    from pqmim import shared_codec

    return shared_codec()
