"""Texts that the font of the pictures has no glyphs for. The judge is matplotlib: it warns of each glyph it lacks."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont

from ram_agent import animation, fonts, pictures
from ram_agent import board as boards
from ram_agent.figures import confusion_matrix
from ram_agent.fonts import legible, shortened
from tests.drawing import make_gaze

NOBODYS = "\N{CUNEIFORM SIGN A}"
"""No font of matplotlib's has it, but for the one that has a box for everything."""


@pytest.fixture(autouse=True)
def matplotlibs_fonts_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What has been found and said before is forgotten, and so are the filters that saying it sets."""
    for remembered in (fonts._families, fonts._complain, fonts._plain_fonts):
        remembered.cache_clear()
    with_it = [font for font in fonts.fontManager.ttflist if Path(font.fname).is_relative_to(get_data_path())]
    monkeypatch.setattr(fonts.fontManager, "ttflist", with_it)
    with warnings.catch_warnings():
        yield
    fonts._plain_fonts.cache_clear()
    fonts._families.cache_clear()


def titled(text: str) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title(text, weight="bold")
    return figure


def drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def foreign() -> str:
    """A character that matplotlib's own fonts have between them, and the usual one has not."""
    usual = fonts._has(findfont(FontProperties()))
    return next(
        character
        for font in fonts._plain_fonts()
        for character in sorted(fonts._has(font.fname) - usual)
        if character.isprintable() and character.isalpha()
    )


def test_a_text_gets_a_font_that_has_what_the_usual_one_lacks() -> None:
    text = f"cat {foreign()}"
    with pytest.warns(UserWarning, match="missing from font"):
        drawn(titled(text))
    figure = titled(text)
    legible(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(figure)


def test_dollars_are_dollars_and_ticks_have_their_formulas() -> None:
    """Matplotlib would take what stands between two of them for a formula, here one that it cannot read."""
    figure = Figure(figsize=(3, 2))
    ax = figure.subplots()
    ax.plot([0, 1], [1, 1000], label="us_$_and_ca_$_notes.npz")
    ax.legend()
    ax.set_yscale("log")
    ax.set_ylabel("error of $a^ and $b^")
    with pytest.raises(ValueError, match="Expected"):
        drawn(figure)
    legible(figure)
    drawn(figure)
    ticks = [text.get_text() for text in ax.get_yticklabels()]
    assert any(text.startswith(r"$\mathdefault") for text in ticks)
    again = drawn(figure)
    legible(figure)
    assert drawn(figure) == again  # ticks that have been drawn, too


def test_a_text_that_lacks_nothing_stays_as_it_is() -> None:
    figure = titled("Кошка, σκύλος, 10 %\nover two lines")
    before = drawn(figure)
    legible(figure)
    assert drawn(figure) == before
    assert figure.axes[0].title.get_fontweight() == "bold"


def test_what_no_font_has_is_said_once_with_the_remedy_and_drawn_without_more_words() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            figure = titled(f"a{NOBODYS}b")
            legible(figure)
            drawn(figure)
    assert len(said) == 1
    assert f"boxes in place of {NOBODYS}: no font" in str(said[0].message)
    assert "install one that does" in str(said[0].message)


def test_names_of_classes_are_drawn_so() -> None:
    figure = confusion_matrix(np.eye(2, dtype=int), (foreign() * 3, "dog"))
    legible(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(figure)


def test_every_picture_is_made_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, what TensorBoard is shown, and the frames of the moving one."""
    asked: list[Figure] = []
    for module in (pictures, boards, animation):
        monkeypatch.setattr(module, "legible", asked.append)
    figure, gaze = titled("a"), make_gaze()
    pictures.write_figure(figure, tmp_path / "figure.png")
    boards.Board(tmp_path, "rows", tensorboard=False).figure("gaze/a", figure, 0)
    assert asked == [figure, figure]
    frames = animation.gaze_frames(gaze, 1, 1)
    assert len(asked) == 2 + len(frames)


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("a b.png", 7, "a b.png"),
        ("photograph.png", 9, "phot….png"),
        ("绘画与雕塑.png", 10, "绘画….png"),
        ("größe_gro\u0308ße", 11, "größe_gro\u0308ße"),
    ],
)
def test_long_texts_are_cut_in_the_middle_by_the_columns_they_fill(text: str, most: int, expected: str) -> None:
    assert shortened(text, most) == expected
