"""A report as blocks, and the same blocks as Markdown and as one HTML file that needs no other."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Columns whose names begin with `=` hold numbers and are set to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.columns


@dataclass(frozen=True)
class Picture:
    file: str
    """Beside the report."""
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures beside one another."""

    pictures: tuple[Picture, ...]


Block = Heading | Paragraph | Bullets | Table | Picture | Gallery

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2; margin: 2rem 0 .6rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #777; font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1rem 0 } figcaption { font-size: 14px; color: #555 }
img { max-width: 100%; height: auto }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem }
"""


def markdown(blocks: Sequence[Block]) -> str:
    """Pictures are named, as files beside the report."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def html(blocks: Sequence[Block], folder: Path, title: str) -> str:
    """Pictures are read from `folder` and put into the page."""
    body = "\n".join(_html(block, folder) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Bullets(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Table(columns, rows):
            lines = [
                "| " + " | ".join(_plain(column.removeprefix("=")) for column in columns) + " |",
                "|" + "|".join("---:" if column.startswith("=") else "---" for column in columns) + "|",
            ]
            return "\n".join(lines + ["| " + " | ".join(map(_plain, row)) + " |" for row in rows])
        case Picture(file, caption):
            return f"![{_plain(caption.partition('. ')[0])}]({file})\n\n{_plain(caption)}"
        case Gallery(pictures):
            return "\n\n".join(
                f"{_plain(each.caption)}:\n\n![{_plain(each.caption)}]({each.file})" for each in pictures
            )


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_text(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{_text(item)}</li>" for item in items) + "\n</ul>"
        case Table(columns, rows):
            kinds = [' class="number"' if column.startswith("=") else "" for column in columns]
            head = "".join(f"<th>{_text(column.removeprefix('='))}</th>" for column in columns)
            lines = [
                "<tr>"
                + "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
                + "</tr>"
                for row in rows
            ]
            return f'<div class="wide"><table>\n<tr>{head}</tr>\n' + "\n".join(lines) + "\n</table></div>"
        case Picture(file, caption):
            encoded = base64.b64encode((folder / file).read_bytes()).decode("ascii")
            return (
                f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{encoded}">'
                f"<figcaption>{_text(caption)}</figcaption></figure>"
            )
        case Gallery(pictures):
            return '<div class="gallery">\n' + "\n".join(_html(each, folder) for each in pictures) + "\n</div>"


def _plain(text: str) -> str:
    """What a bar would end a table's cell with is written so that it does not; commands keep their backticks."""
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
