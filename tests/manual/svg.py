"""Boxes, arrows and words as SVG, in the colours of the page around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final, NamedTuple

STYLE: Final = """
.tt { --tt-fg: #1f2328; --tt-dim: #59636e; --tt-bg: #ffffff; font: 13px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  .tt { --tt-fg: #e6edf3; --tt-dim: #9198a1; --tt-bg: #0d1117; }
}
.tt text { fill: var(--md-default-fg-color, var(--tt-fg)); text-anchor: middle; }
.tt .dim { fill: var(--md-default-fg-color--light, var(--tt-dim)); font-size: 11px; }
.tt .code { font-family: ui-monospace, monospace; font-size: 11px; }
.tt .state { font-weight: 600; font-size: 12.5px; }
.tt .left { text-anchor: start; } .tt .right { text-anchor: end; }
.tt .halo { stroke: var(--md-default-bg-color, var(--tt-bg)); stroke-width: 5; }
.tt .halo { paint-order: stroke; }
.tt rect { stroke-width: 1.5; }
.tt .request { fill: #d9770633; stroke: #d97706; } .tt .full { fill: #2f81f733; stroke: #2f81f7; }
.tt .timewait { fill: #a371f733; stroke: #a371f7; } .tt .queue { fill: #2ea04333; stroke: #2ea043; }
.tt .none { fill: none; stroke: var(--md-default-fg-color--light, var(--tt-dim)); }
.tt .arrow { fill: none; stroke: var(--md-default-fg-color, var(--tt-fg)); stroke-width: 1.4; }
.tt .birth { stroke-dasharray: 5 4; } .tt .bad { stroke: #e5534b; } .tt .badwords { fill: #e5534b; }
.tt .head { fill: var(--md-default-fg-color, var(--tt-fg)); } .tt .badhead { fill: #e5534b; }
"""


class Point(NamedTuple):
    """In the picture's units, y down."""

    x: float
    y: float


@dataclass(frozen=True)
class Box:
    """A rectangle by its middle."""

    middle: Point
    width: float = 122
    height: float = 32

    def towards(self, other: Point) -> Point:
        """Where a line from the middle to the other point leaves the box."""
        dx, dy = other.x - self.middle.x, other.y - self.middle.y
        share = min(
            (self.width / 2 + 2) / abs(dx) if dx else 1e9,
            (self.height / 2 + 2) / abs(dy) if dy else 1e9,
        )
        return Point(self.middle.x + dx * share, self.middle.y + dy * share)


@dataclass
class Picture:
    """What is drawn so far; later things lie above earlier ones."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(self, box: Box, words: str, kind: str, css: str = "state") -> None:
        """A box with words in its middle."""
        left, top = box.middle.x - box.width / 2, box.middle.y - box.height / 2
        self.parts.append(
            f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{box.width:g}"'
            f' height="{box.height:g}" rx="6"/>'
        )
        self.words(Point(box.middle.x, box.middle.y + 4.5), words, css)

    def words(self, at: Point, words: str, css: str = "") -> None:
        """One line of words."""
        self.parts.append(f'<text class="{css}" x="{at.x:g}" y="{at.y:g}">{escape(words)}</text>')

    def arrow(self, points: list[Point], css: str = "") -> None:
        """A line with a head at its last point."""
        head = "tt-badhead" if "bad" in css.split() else "tt-head"
        path = " ".join(
            f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points)
        )
        self.parts.append(f'<path class="arrow {css}" d="{path}" marker-end="url(#{head})"/>')

    def text(self) -> str:
        """The whole file."""
        heads = "".join(
            f'<marker id="tt-{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
            f' markerHeight="8" orient="auto"><path class="{name}" d="M0 0 L8 4 L0 8 z"/></marker>'
            for name in ("head", "badhead")
        )
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" class="tt" role="img" {box}>',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                f"<defs>{heads}</defs>",
                *self.parts,
                "</svg>",
                "",
            ]
        )
