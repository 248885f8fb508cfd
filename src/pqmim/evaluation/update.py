"""New results beside earlier ones of the same photos, so that a file of results grows codec by codec."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pqmim.errors import PqmimError

Results = Mapping[str, Any]


def check(earlier: Results, images: Sequence[Mapping[str, Any]], names: Sequence[str], network: str | None) -> None:
    """Refuse, before anything is measured, what cannot stand beside earlier results.

    Args:
        earlier: the results that are kept.
        images: names and sizes of the photos, as results have them.
        names: of the codecs that are measured anew.
        network: SHA-256 of the network of the measure squeezenet; None where that is not measured.

    Raises:
        PqmimError: the photos or the network are others, or a measure of a codec would be lost.
    """
    if earlier.get("images") != list(images):
        raise PqmimError("the earlier results are of other photos, so that new ones cannot stand beside them")
    known = earlier.get("features", {}).get("squeezenet")
    if network is not None and known not in (None, network):
        raise PqmimError("the earlier results have the SqueezeNet distance by other weights: name those")
    had = [name for name in names if _has_distance(earlier["codecs"].get(name))]
    if network is None and had:
        raise PqmimError(f"the earlier results have the SqueezeNet distance of {had[0]}: measure it with --features")


def check_perceptual(earlier: Results, names: Sequence[str], measured: bool) -> None:
    """Refuse what would lose perceptual measures: these are one table, whose codecs are compared photo by photo.

    Args:
        earlier: the results that are kept.
        names: of the codecs that are measured anew.
        measured: whether their perceptual measures are made.

    Raises:
        PqmimError: the table has a codec that is measured without them, or another codec beside those measured.
    """
    table = list(earlier.get("perceptual", {}).get("codecs", {}))
    again = [name for name in table if name in names]
    if not measured and again:
        raise PqmimError(f"the earlier results have perceptual measures of {again[0]}: make them with --perceptual")
    others = [name for name in table if name not in names]
    if measured and others:
        raise PqmimError(f"the earlier perceptual measures are also of {others[0]}: name all their codecs again")


def check_published(earlier: Results, published: Collection[str]) -> None:
    """Refuse what would lose BD-rates against published curves, which results hold without the curves.

    Args:
        earlier: the results that are kept.
        published: names of the curves that are given now.

    Raises:
        PqmimError: a reference of the earlier results is neither a codec of theirs nor given.
    """
    references = [name for table in earlier.get("bd_rate", {}).values() for name in table]
    lost = [name for name in references if name not in earlier["codecs"] and name not in published]
    if lost:
        raise PqmimError(f"the earlier results are compared with the published curve of {lost[0]}: name --published")


def joined(earlier: Results, results: Results) -> dict[str, Any]:
    """Results with what the earlier ones have beside them; codecs measured anew stand in their old places."""
    kept = {name: earlier[name] for name in ("features", "perceptual") if name in earlier and name not in results}
    return {**results, **kept, "codecs": {**earlier["codecs"], **results["codecs"]}}


def _has_distance(codec: Results | None) -> bool:
    return codec is not None and any("squeezenet" in row for row in codec["settings"])
