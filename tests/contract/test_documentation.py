"""The documentation is true: outputs are of now, diagrams of the tables, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
from manual import blocks, diagrams
from manual.pictures import PICTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
_LOADED: Final = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"),
                  ("iframe", "src"), ("use", "href"), ("object", "data")}  # fmt: skip
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", blocks.PAGES)
def test_outputs_are_what_the_commands_print(name: str) -> None:
    """`python -m tests.manual` mends it."""
    text = (DOCS / name).read_text(encoding="utf-8")
    assert blocks.rendered(text) == text


@pytest.mark.parametrize("name", PICTURES)
def test_diagrams_are_those_of_tables_and_recordings(name: str) -> None:
    """`python -m tests.manual` mends it."""
    drawn = (DOCS / "img" / f"diagram-{name}.svg").read_text(encoding="utf-8")
    assert drawn == PICTURES[name]()


def test_a_transition_that_no_picture_tells_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict(diagrams.ORDERLY)
    told.pop(next(edge for edge in told if edge[1] is not diagrams.S.CLOSE))
    monkeypatch.setattr(diagrams, "ORDERLY", told)
    with pytest.raises(AssertionError):
        diagrams.check()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    return directory


class _Links(HTMLParser):
    """What a page loads, what it links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            elif (tag, name) in _LOADED and ("rel", "canonical") not in attrs:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.linked.append(value)


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        found = [one for one in _Links(path.read_text("utf-8")).loaded if urlsplit(one).netloc]
        assert not found, path
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )['\"]?https?:", path.read_text("utf-8")), path


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    """MkDocs checks those in Markdown; this one all that came out."""
    pages = {path: _Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    broken = [
        f"{path.relative_to(site)}: {link}"
        for path, links in pages.items()
        if path.name != "404.html"
        for link in [*links.linked, *links.loaded]
        if not _leads_somewhere(path, link, pages)
    ]
    assert not broken


def _leads_somewhere(page: Path, link: str, pages: dict[Path, _Links]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme == "https" and "." in parts.netloc
    target = (page.parent / parts.path).resolve() if parts.path else page
    if not target.is_file():
        return False
    return not parts.fragment or target not in pages or parts.fragment in pages[target].anchors


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *DOCS.rglob("*.md")], ids=lambda page: page.relative_to(ROOT)
)
def test_links_lead_to_files_where_the_repository_is_read(page: Path) -> None:
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if not urlsplit(link).scheme]
    assert not [path for path in local if path and not (page.parent / path).exists()]


def test_what_the_site_tells_otherwise_is_linked_to_that_page(site: Path) -> None:
    linked = _Links((site / "howto.html").read_text("utf-8")).linked
    assert {"alerts.html", "schemas.html", "exit-codes.html"} <= {*linked}


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_the_command_is_installed_where_every_page_expects_it(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for line in text.splitlines()]
    link = ["sudo", "ln", "-sf", "/opt/tcptrace/bin/tcptrace", "/usr/local/bin/"]
    assert commands.index(link) < commands.index(["sudo", "tcptrace", "doctor"])


def test_no_page_asks_for_another_one() -> None:
    asked = [
        page.name
        for page in (ROOT / "README.md", *DOCS.glob("*.md"))
        if "sudo /opt/tcptrace/bin/tcptrace" in page.read_text("utf-8")
    ]
    assert not asked


def test_a_link_to_the_command_is_the_command(tmp_path: Path) -> None:
    link = tmp_path / "tcptrace"
    link.symlink_to(Path(sys.executable).with_name("tcptrace"))
    done = subprocess.run([link, "--help"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0


def commands_in_pages() -> Iterator[tuple[str, str]]:
    """Every make target that a page tells people to run."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        for target in re.findall(
            r"(?:`|^ {4})make ([a-z][\w.-]*)", path.read_text("utf-8"), re.MULTILINE
        ):
            yield path.name, target


def test_make_targets_that_pages_name_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    heads = re.findall(r"^([a-z-]+%?):", makefile, re.MULTILINE)
    exact = {head for head in heads if "%" not in head}
    stems = tuple(head.rstrip("%") for head in heads if "%" in head)
    missing = [
        (page, target)
        for page, target in commands_in_pages()
        if target not in exact and not target.startswith(stems)
    ]
    assert not missing
