"""Which metrics and labels a PromQL expression uses: enough of the grammar to check names.

It reads what these dashboards and rules are made of; it is no parser, and knows no precedence.
Source: prometheus/promql/parser/lex.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<range>\[[^\]]*\])
    | (?P<number>\d[\d.]*(?:e[+-]?\d+)?(?:ms|[smhdwy])?)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){},])
    """,
    re.VERBOSE,
)
_GROUPING: Final = frozenset({"by", "without"})
_MATCHING: Final = frozenset({"on", "ignoring", "group_left", "group_right"})
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


class Matcher(NamedTuple):
    """`label="value"` in a selector."""

    label: str
    sign: str
    value: str


class Selector(NamedTuple):
    """A metric's name, and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...]


class Grouping(NamedTuple):
    """Labels after by, without, on, ignoring, group_left or group_right."""

    word: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    """What is aggregated; all of the expression's for on, ignoring and the like."""


class Uses(NamedTuple):
    """What an expression uses."""

    selectors: tuple[Selector, ...]
    groupings: tuple[Grouping, ...]


def uses(expr: str) -> Uses:
    """Finds metrics, matchers and grouping labels; `$name` may stand for a value or a range.

    Raises:
        ValueError: A character that starts no token, an aggregation whose labels do not come
            before what it aggregates, or parentheses that do not match.
    """
    tokens = list(_tokens(expr))
    found = list(_selectors(tokens))
    everything = tuple(selector.metric for _, selector in found)
    groupings = []
    for at, (kind, word) in enumerate(tokens):
        if kind != "name" or word not in _GROUPING | _MATCHING:
            continue
        end = _closing(tokens, at + 1)
        labels = tuple(text for kind, text in tokens[at + 1 : end] if kind == "name")
        if word in _GROUPING:
            last = _closing(tokens, end + 1)
            inside = tuple(selector.metric for where, selector in found if end < where < last)
            groupings.append(Grouping(word, labels, inside))
        else:
            groupings.append(Grouping(word, labels, everything))
    return Uses(tuple(selector for _, selector in found), tuple(groupings))


def _tokens(expr: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            raise ValueError(f"not PromQL at {expr[at : at + 20]!r} in {expr!r}")
        at = match.end()
        kind = match.lastgroup or ""
        if kind != "space":
            yield kind, match.group()


def _closing(tokens: list[tuple[str, str]], opening: int) -> int:
    """Where the parenthesis that opens there is closed."""
    if opening >= len(tokens) or tokens[opening] != ("sign", "("):
        raise ValueError("a parenthesis is expected after a grouping word and after its labels")
    depth = 0
    for at in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at][1], 0)
        if depth == 0:
            return at
    raise ValueError("a parenthesis is not closed")


def _selectors(tokens: list[tuple[str, str]]) -> Iterator[tuple[int, Selector]]:
    """The metrics, each with the place of its name."""
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "name" and text in _GROUPING | _MATCHING:
            at = _closing(tokens, at + 1) + 1
        elif kind != "name" or text in _WORDS or following == "(" or _aggregates(tokens, at):
            at += 1
        elif following == "{":
            end = tokens.index(("sign", "}"), at)
            yield at, Selector(text, tuple(_matchers(tokens[at + 2 : end])))
            at = end + 1
        else:
            yield at, Selector(text, ())
            at += 1


def _aggregates(tokens: list[tuple[str, str]], at: int) -> bool:
    """Whether this is the name of an aggregation: `sum by (…) (…)`."""
    return at + 1 < len(tokens) and tokens[at + 1][1] in _GROUPING


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[Matcher]:
    plain = [token for token in tokens if token != ("sign", ",")]
    for label, sign, value in zip(plain[::3], plain[1::3], plain[2::3], strict=True):
        yield Matcher(label[1], sign[1], value[1][1:-1])
