"""What MkDocs does not do by itself: pages made from the code, files of the repository, diagrams.

Pages link to files as the repository has them (`../dashboards/…`, `docs/…` in CONTRIBUTING.md), so
that the links work there too. Here such a file becomes part of the site, and the link is turned
to it; or to the page that is made here of what it holds. A link to a file that is not there stays
as it is, and fails the strict build.

Source: mkdocs.org, user guide, hooks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

# MkDocs loads this file by its path: its siblings are found as pytest finds them.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from manual.reference import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

CHECKOUT: Final = Path(__file__).resolve().parents[2]
HOME: Final = "docs"
FROM_ABOVE: Final = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie beside docs/, and what the site calls them."""
TOLD_BY: Final = {
    "dashboards": "alerts.md",
    "docs/schema": "schemas.md",
    "README.md#exit-codes": "exit-codes.md",
}
"""What the repository has, and the page that the site has of it."""
REST: Final = "repository"
"""Where the site has files that are no pages."""
_LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")
_DIAGRAM: Final = re.compile(r'<img alt="([^"]*)" src="(?:\.\./)*img/(diagram-[\w-]+\.svg)" ?/?>')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds pages from beside docs/, and every file outside of docs/ that a page links to."""
    for uri, make in PAGES.items():
        files.append(File.generated(config, uri, content=make()))
    for path, uri in FROM_ABOVE.items():
        files.append(File.generated(config, uri, abs_src_path=str(CHECKOUT / path)))
    linked = {path for file in files.documentation_pages() for path in _outside(file)}
    for path in sorted(path for path in linked if (CHECKOUT / path).is_dir()):
        listed = sorted(file.name for file in (CHECKOUT / path).iterdir() if file.is_file())
        text = "\n".join([f"# {path}\n", *(f"- [{name}]({name})" for name in listed), ""])
        files.append(File.generated(config, f"{REST}/{path}/index.md", content=text))
        linked |= {f"{path}/{name}" for name in listed}
    for path in sorted(path for path in linked if (CHECKOUT / path).is_file()):
        files.append(File.generated(config, f"{REST}/{path}", abs_src_path=str(CHECKOUT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turns links to files of the repository to where the site has them."""
    uri = page.file.src_uri

    def turned(found: re.Match[str]) -> str:
        path, anchor = _in_repository(uri, found[1]), found[2] or ""
        if made := TOLD_BY.get(path + anchor):
            return relpath(made, normpath(f"{uri}/.."))
        target = _site_uri(path)
        # A directory is told by its index.
        if files.get_file_from_path(f"{target}/index.md"):
            target += "/index.md"
        if files.get_file_from_path(target) is None:
            return found[0]
        return relpath(target, normpath(f"{uri}/..")) + anchor

    return _LINK.sub(turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Puts diagrams into the page itself, so that they take its colours."""

    def inline(found: re.Match[str]) -> str:
        drawn = (CHECKOUT / HOME / "img" / found[2]).read_text(encoding="utf-8")
        return f'<span class="diagram">{drawn}</span>'

    return _DIAGRAM.sub(inline, html)


def _outside(file: File) -> Iterator[str]:
    """The repository's files and directories outside of docs/ that a page links to."""
    for found in _LINK.finditer(file.content_string):
        path = _in_repository(file.src_uri, found[1])
        is_page = path.startswith(f"{HOME}/") or path in FROM_ABOVE
        is_page |= path + (found[2] or "") in TOLD_BY
        if not is_page and (CHECKOUT / path).exists():
            yield path


def _in_repository(uri: str, link: str) -> str:
    """The repository's path of what a page links to."""
    above = {site: path for path, site in FROM_ABOVE.items()}
    page = above.get(uri, f"{HOME}/{uri}")
    return normpath(f"{page}/../{link}")


def _site_uri(path: str) -> str:
    if path in FROM_ABOVE:
        return FROM_ABOVE[path]
    return path.removeprefix(f"{HOME}/") if path.startswith(f"{HOME}/") else f"{REST}/{path}"
