"""Texts as they are written: in any script, though matplotlib's own font may have but boxes, and with any dollars."""

import warnings
from collections.abc import Sequence
from functools import cache
from unicodedata import combining, east_asian_width

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text


def shortened(text: str, most: int) -> str:
    """A text cut in the middle to `most` columns; a character of Chinese, Japanese or Korean fills two."""
    if _columns(text) <= most:
        return text
    begin, end = 0, len(text)
    while _columns(text[: begin + 1]) <= most // 2:
        begin += 1
    while _columns(f"{text[:begin]}…{text[end - 1 :]}") <= most:
        end -= 1
    return f"{text[:begin]}…{text[end:]}"


def _columns(text: str) -> int:
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def legible(figure: Figure) -> None:
    """Give each text of a figure the fonts of this machine that have what its own lacks; to be called before drawing.

    Such a text is of normal weight: few of those fonts have another. Warns of characters that no font has, with the
    remedy. Dollars are dollars: only ticks have formulas.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().startswith(r"$\mathdefault"):
            text.set_parse_math("$" not in text.get_text())
        own = text.get_fontfamily()
        missing = set(filter(str.isprintable, text.get_text())) - _has(findfont(FontProperties(family=own)))
        if missing:
            families = _families("".join(sorted(missing)))
            text.set_fontfamily([*own, *(family for family in families if family not in own)])
            text.set_fontweight("normal")


@cache
def _families(characters: str) -> Sequence[str]:
    """Families that have the characters between them, those first that have most of them."""
    missing, found = set(characters), []
    while missing:
        best = max(_plain_fonts(), key=lambda font: len(missing & _has(font.fname)))
        if not missing & _has(best.fname):
            break
        found.append(best.name)
        missing -= _has(best.fname)
    _complain("".join(sorted(missing)))
    return found


@cache
def _has(path: str) -> frozenset[str]:
    """The characters of a font; none where it cannot be drawn at any size, as bitmaps cannot."""
    font = get_font(path)
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


@cache
def _plain_fonts() -> Sequence[FontEntry]:
    """Upright, of normal weight and width, by their names. Not those that draw a box for everything."""
    usual = FontProperties()
    plain = [
        font
        for font in fontManager.ttflist
        if (font.style, font.stretch) == (usual.get_style(), usual.get_stretch())
        and font.weight in (400, "normal", "regular")
        and "lastresort" not in font.name.replace(" ", "").lower()
    ]
    return sorted(plain, key=lambda font: font.name)


@cache
def _complain(characters: str) -> None:
    if not characters:
        return
    # This is said once, with the remedy; matplotlib would say it of each glyph in each picture.
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
    warnings.warn(
        f"pictures show boxes in place of {' '.join(characters)}: no font on this machine has them; install one that "
        "does, for example Noto Sans CJK",
        stacklevel=2,
    )
