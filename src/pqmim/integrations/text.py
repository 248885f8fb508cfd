"""Files as text, for places that carry nothing else: base64url, and base2048 for posts that count characters.

Base64url is RFC 4648's alphabet for addresses, without padding: 4 characters hold 3 bytes. Base2048 is qntm's encoding
(MIT, https://github.com/qntm/base2048): each character holds 11 bits, counts once in a post of 280, survives every
Unicode normalisation, and the last one may be of a small alphabet of 3 bits.
"""

import base64
import binascii
import re

from pqmim.errors import DamagedFile

_RANGES = """
    38-39 41-5a 61-7a c6 d0 d8 de-df e6 f0 f8 fe 110-111 126-127 131 138 141-142 14a-14b 152-153 166-167 180-19f
    1a2-1ae 1b1-1c3 1dd 1e4-1e5 1f6-1f7 21c-21d 220-225 234-2af 370-373 376-377 37b-37d 37f 391-3a1 3a3-3a9 3b1-3c9
    3cf 3d7-3ef 3f3 3f7-3f8 3fa-3ff 402 404-406 408-40b 40f-418 41a-438 43a-44f 452 454-456 458-45b 45f-475 478-481
    48a-4c0 4c3-4cf 4d4-4d5 4d8-4d9 4e0-4e1 4e8-4e9 4f6-4f7 4fa-52f 531-556 561-586 5d0-5ea 5f0-5f2 620-621 627-63f
    641-64a 660-669 66e-66f 671-674 679-6bf 6c1 6c3-6d2 6d5 6ee-6fc 6ff 710 712-72f 74d-7a5 7b1 7c0-7ea 800-815
    840-858 860-86a 8a0-8b4 8b6-8bd 904-928 92a-930 932-933 935-939 93d 950 960-961 966-96f 972-980 985-98c 98f-990
    993-9a8 9aa-9b0 9b2 9b6-9b9 9bd 9ce 9e0-9e1 9e6-9f1 9f4-9f9 9fc a05-a0a a0f-a10 a13-a28 a2a-a30 a32 a35 a38-a39
    a5c a66-a6f a72-a74 a85-a8d a8f-a91 a93-aa8 aaa-ab0 ab2-ab3 ab5-ab9 abd ad0 ae0-ae1 ae6-aef af9 b05-b0c b0f-b10
    b13-b28 b2a-b30 b32-b33 b35-b39 b3d b5f-b61 b66-b6f b71-b77 b83 b85-b8a b8e-b90 b92-b93 b95 b99-b9a b9c b9e-b9f
    ba3-ba4 ba8-baa bae-bb9 bd0 be6-bf2 c05-c0c c0e-c10 c12-c28 c2a-c39 c3d c58-c5a c60-c61 c66-c6f c78-c7e c80
    c85-c8c c8e-c90 c92-ca8 caa-cb3 cb5-cb9 cbd cde ce0-ce1 ce6-cef cf1-cf2 d05-d0c d0e-d10 d12-d3a d3d d4e d54-d56
    d58-d61 d66-d78 d7a-d7f d85-d96 d9a-db1 db3-dbb dbd dc0-dc6 de6-def e01-e30 e32 e40-e45 e50-e59 e81-e82 e84
    e87-e88 e8a e8d e94-e97 e99-e9f ea1-ea3 ea5 ea7 eaa-eab ead-eb0 eb2 ebd ec0-ec4 ed0-ed9 ede-edf f00 f20-f33
    f40-f42 f44-f47 f49-f4c f4e-f51 f53-f56 f58-f5b f5d-f68 f6a-f6c f88-f8c 1000-1025 1027-102a 103f-1049 1050-1055
"""
"""The 2,048 characters in order, as code points and inclusive ranges of them."""


def _alphabet(ranges: str) -> str:
    ends = [[int(end, 16) for end in word.split("-")] for word in ranges.split()]
    return "".join(chr(point) for end in ends for point in range(end[0], end[-1] + 1))


LONG, SHORT = _alphabet(_RANGES), "01234567"
"""The alphabets of base2048: 11 bits a character, and 3 for the last one."""

_LONG_BITS, _SHORT_BITS = 11, 3
_BYTES, _CHARACTERS = 11, 8  # of a block of 88 bits: one long number would take quadratic time
_VALUES = {character: (value, _LONG_BITS) for value, character in enumerate(LONG)} | {
    character: (value, _SHORT_BITS) for value, character in enumerate(SHORT)
}


def to_base64url(data: bytes) -> str:
    """Characters that an address may hold, four for three bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes of base64url text; padding may be there or not.

    Raises:
        DamagedFile: the text has other characters, or an impossible length.
    """
    text = text.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DamagedFile("the text is not base64url, or a part of it is missing") from error


def to_base2048(data: bytes) -> str:
    """Characters of 11 bits each: 280 of them, a post, hold 385 bytes."""
    return "".join(_characters(data[start : start + _BYTES]) for start in range(0, len(data), _BYTES))


def _characters(data: bytes) -> str:
    """Those of a block: as many as they are for all of its bytes, or for the last ones of a text."""
    bits = 8 * len(data)
    left = bits % _LONG_BITS
    last = 0 if not left else _SHORT_BITS if left <= _SHORT_BITS else _LONG_BITS
    padding = last - left if left else 0
    value = (int.from_bytes(data, "big") << padding) | ((1 << padding) - 1)  # the padding is ones
    characters = []
    if last == _SHORT_BITS:
        characters.append(SHORT[value & 7])
        value >>= _SHORT_BITS
    for _ in range(bits // _LONG_BITS + (last == _LONG_BITS)):
        characters.append(LONG[value & 2047])
        value >>= _LONG_BITS
    return "".join(reversed(characters))


def from_base2048(text: str) -> bytes:
    """The bytes of base2048 text.

    Raises:
        DamagedFile: a character of no alphabet, one of 3 bits before the end, or padding that is not ones.
    """
    return b"".join(_bytes(text, start) for start in range(0, len(text), _CHARACTERS))


def _bytes(text: str, start: int) -> bytes:
    """Those of the block of a text that starts there."""
    value = bits = 0
    for place, character in enumerate(text[start : start + _CHARACTERS], start + 1):
        digit, width = _VALUES.get(character, (0, 0))
        if not width or (width == _SHORT_BITS and place < len(text)):
            raise DamagedFile(f"the text is not base2048: character {place} does not belong there")
        value, bits = value << width | digit, bits + width
    padding = bits % 8
    if value & ((1 << padding) - 1) != (1 << padding) - 1:
        raise DamagedFile("the text is not base2048, or its end is missing")
    return (value >> padding).to_bytes(bits // 8, "big")


def to_link(data: bytes, page: str) -> str:
    """An address that carries a file in its fragment, which browsers keep to themselves: no server receives it."""
    return f"{page.split('#')[0]}#{to_base64url(data)}"


def from_text(text: str) -> bytes:
    """The bytes of what `to_base64url`, `to_base2048` or `to_link` made; white space around and inside is ignored.

    Raises:
        DamagedFile: it is none of these.
    """
    text = re.sub(r"\s+", "", text)
    if "#" in text or "://" in text:  # neither alphabet has such characters
        _, _, text = text.partition("#")
    if not text:
        raise DamagedFile("the text carries no file: it is empty, or a link without a # part")
    return from_base64url(text) if text.isascii() and re.fullmatch(r"[A-Za-z0-9_=-]+", text) else from_base2048(text)
