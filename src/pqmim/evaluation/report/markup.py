"""HTML from Python values: all text is escaped, whatever it holds."""

from collections.abc import Sequence
from html import escape

VOID = {"img", "meta"}  # elements without an end


class Html(str):
    """Text that is markup already."""


def element(tag: str, *children: str, **attributes: str) -> Html:
    """`<tag attribute="...">children</tag>`; an attribute that is a Python keyword takes a trailing underscore."""
    words = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    if tag in VOID:
        return Html(f"<{tag}{words}>")
    return Html(f"<{tag}{words}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Html:
    """Children one after another, escaped where they are text."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table whose first column names its rows, in a frame that moves sideways on narrow screens."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    inner = element("table", element("thead", top), element("tbody", *body))
    return element("div", inner, class_="wide", tabindex="0")
