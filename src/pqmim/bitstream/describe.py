"""What a file says of itself without being decoded: the substance of `pqmim info`."""

from typing import Any

from pqmim.bitstream.container import Tag, read


def describe(data: bytes) -> dict[str, Any]:
    """Facts about a .pqm file as JSON types.

    Returns:
        version, width, height, quality; kind: "colour", "grey" or "flat"; scale: the picture was coded at 1/2**scale
        of its size; weights: short hash as hex; bpp: bits of the whole file for a pixel;
        state: "complete"; "cut"; "damaged", its bytes do not match its check (a bare file may be cut as well); or
        "bare" (no frame, so nothing says whether it is whole);
        intact: true or false by the check of the file's bytes, null where there is none;
        payload_share: how much of the payload is there, 0 to 1, null where the file does not say;
        bytes, and what they sum up from: header_bytes, payload_bytes, chunks ({name: bytes of data}) and
        framing_bytes (lengths, tags and checks; for a cut file with what is left of the chunk it was cut in).

    Raises:
        DamagedFile, UnsupportedFile: as `read`.
    """
    container = read(data)
    header, size = container.header, container.payload_size
    header_bytes, payload_bytes = container.header_size, len(container.payload)
    chunks = {_name(tag): len(chunk) for tag, chunk in container.chunks.items()}
    whole = "complete" if container.complete else "cut" if header.framed else "bare"
    return {
        "version": header.version,
        "width": header.width,
        "height": header.height,
        "quality": header.quality,
        "kind": header.kind.name.lower(),
        "scale": header.scale,
        "weights": f"{header.weights:03x}",
        "bytes": len(data),
        "bpp": 8 * len(data) / (header.width * header.height),
        "header_bytes": header_bytes,
        "payload_bytes": payload_bytes,
        "framing_bytes": len(data) - header_bytes - payload_bytes - sum(chunks.values()),
        "chunks": chunks,
        "state": "damaged" if container.intact is False else whole,
        "intact": container.intact,
        "payload_share": None if size is None else payload_bytes / size if size else 1.0,
    }


def _name(tag: int) -> str:
    names = {member.value: member.name.lower() for member in Tag}
    return names.get(tag, f"tag {tag}")
