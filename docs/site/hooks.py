"""What the site needs beyond docs/: pages that lie elsewhere in the repository, and links that fit on both sides.

In a repository a link is a path between files, and often says nothing but that path. The site has README.md as its
index and results/ beside docs/: links there and back are rewritten, a path that is its own text becomes the title of
the page, and a link to a file that the site does not have is an error.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CITATION.cff": "CITATION.cff",
}
"""Files at the root of the repository, and what they are called on the site."""
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#]+\.\w+)((?:#[^()\s]*)?)\)")
AWAY = re.compile(r"[a-z]+:|/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside of docs/."""
    results = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "results").rglob("*")) if path.is_file()]
    for path in (*MOVED, *results):
        files.append(File.generated(config, MOVED.get(path, path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links from and to what lies outside of docs/, as the site has it."""
    here = page.file.src_uri
    if here in MOVED.values():
        page.meta["hide"] = ["navigation"]  # one page under its tab

    def fitted(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        if AWAY.match(target):
            return link[0]
        file = _linked(target, here, files)
        shown = _title(file) if text.endswith(target.removeprefix("../")) else text
        return f"[{shown}]({posixpath.relpath(file.src_uri, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(fitted, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of a notebook, which never was Markdown to MkDocs."""
    here = page.file.src_uri
    if not here.endswith(".ipynb"):
        return html

    def fitted(link: re.Match[str]) -> str:
        file = _linked(link[1], here, files)
        return f'href="{posixpath.relpath(file.url, posixpath.dirname(page.url) or ".")}"'

    return re.sub(r'href="([^":#]+\.md)"', fitted, html)


def _linked(target: str, here: str, files: Files) -> File:
    """The file of the site that a link on the page `here` means, as the repository has both."""
    there = next((path for path, uri in MOVED.items() if uri == here), here if _outside(here) else f"docs/{here}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(there), target))
    file = files.get_file_from_path(MOVED.get(path) or (path if _outside(path) else path.removeprefix("docs/")))
    if file is None:
        raise PluginError(f"{there}: links to {target}, which the site does not have")
    return file


def _title(file: File) -> str:
    return next((line[2:] for line in file.content_string.splitlines() if line.startswith("# ")), file.src_uri)


def _outside(path: str) -> bool:
    return path.startswith("results/")
