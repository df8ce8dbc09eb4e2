"""Docstrings as the reference shows them: their headings, their lists of arguments and their errors, in Markdown.

A line with an indented block below it becomes a heading; `name: what it is`, an item of a list; `Raises: …`, a
paragraph. All else stays as it is.
"""

import re
import textwrap
from typing import Any

import griffe

HEADING = re.compile(r"[A-Z][\w ()-]{0,40}:?")
ITEM = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.+)", re.DOTALL)
REMARK = re.compile(r"(Raises|Returns|Convention|Source): ")


class Docstrings(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """The docstring in Markdown; prose stays as it is."""
    blocks: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        below = _indented(lines, at + 1)
        if below and HEADING.fullmatch(lines[at]) and _starts_a_block(lines, at):
            inner = as_markdown(textwrap.dedent("\n".join(lines[at + 1 : below])))
            blocks += ["", f"**{lines[at].rstrip(':')}**", "", inner, ""]
            at = below
        elif lines[at].strip() and _starts_a_block(lines, at) and (ITEM.match(lines[at]) or REMARK.match(lines[at])):
            end = next((n for n in range(at, len(lines)) if not lines[n].strip()), len(lines))
            blocks += ["", *_items(lines[at:end]), ""]
            at = end
        else:
            blocks.append(lines[at])
            at += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(blocks)).strip("\n")


def _indented(lines: list[str], start: int) -> int:
    """Where the indented lines from `start` on end; 0 where there are none."""
    end = start
    while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
        end += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end if end > start and lines[start].startswith("    ") else 0


def _starts_a_block(lines: list[str], at: int) -> bool:
    return at == 0 or not lines[at - 1].strip() or lines[at - 1].startswith("    ")


def _items(lines: list[str]) -> list[str]:
    """`name: text` with its continuation lines, as a list; `Raises: …` as a paragraph."""
    items: list[str] = []
    for line in lines:
        if ITEM.match(line) or REMARK.match(line) or not items:
            items.append(line.strip())
        else:
            items[-1] += " " + line.strip()
    shown: list[str] = []
    for item in items:
        if remark := REMARK.match(item):
            shown += ["", f"*{remark[1]}:* {item[remark.end() :]}"]
        elif named := ITEM.fullmatch(item):
            names = ", ".join(f"`{name}`" for name in named[1].split(", "))
            shown.append(f"- {names}: {named[2]}")
        else:
            shown.append(item)
    return shown
