"""Pages of the reference that come from the code, made whenever the site is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dashboards.build.alerts import ALERTS
from dashboards.build.recording import RECORDINGS
from tcptrace import errors
from tcptrace.cli.main import tcptrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = CHECKOUT / "docs"
_BREAK: Final = "\n\n"
_EXIT_CODES: Final = """\
Stable: a code keeps its meaning, and a new meaning gets a new code. Every error is one line on
stderr that says what to do.
"""
_OTHER_CODES: Final = """\
| 70 | anything else | an error that we did not foresee: `TCPTRACE_DEBUG=1` shows where |
| 130 | – | interrupted before tracing began |
"""
_SCHEMAS: Final = """\
One object a line, each with its schema's name in `schema`. Within a version keys are added, never
renamed or removed. The files are JSON Schema 2020-12.
"""
_ALERTS: Final = """\
Import the dashboards into Grafana; load the rules into Prometheus. All are made from
dashboards/build, and each alert is tried on a recording of its own fault and on those of all
others.
"""


def commands() -> str:
    """Every command with its options, as --help has them."""
    context = click.Context(tcptrace, info_name="tcptrace", **tcptrace.context_settings)
    parts = [
        "# Commands\n",
        "What `tcptrace COMMAND --help` says. [What exit codes mean](exit-codes.md).\n",
    ]
    for name in tcptrace.list_commands(context):
        command = tcptrace.get_command(context, name)
        assert command is not None
        parts += _command(command, click.Context(command, context, name))
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    yield f"{_unwrapped(command.help or '')}\n"
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n"
    rows = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None and record[1]
    ]
    yield from _table(("option", "does"), ((f"`{names}`", says) for names, says in rows))
    yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, context, name))


def exit_codes() -> str:
    """The table that the tree of errors begins with, and the codes that no class has."""
    described = errors.__doc__ or ""
    rows = [line for line in described.splitlines() if line.startswith("|")]
    return "\n".join(
        [
            "# Exit codes\n",
            _EXIT_CODES,
            *rows,
            _OTHER_CODES,
        ]
    )


def schemas() -> str:
    """Every schema of JSON outputs, key by key."""
    parts = [
        "# JSON schemas\n",
        _SCHEMAS,
    ]
    for path in sorted((DOCS / "schema").glob("*.json")):
        document = json.loads(path.read_bytes())
        parts += [
            f"## {document['title']}\n",
            f"{document['description']} [{path.name}](schema/{path.name})\n",
            *_table(
                ("key", "type", "means"),
                ((f"`{key}`", kind, says) for key, kind, says in _keys(document, document)),
            ),
            "",
        ]
    return "\n".join(parts)


def _keys(
    node: Mapping[str, Any], root: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    for key, value in node.get("properties", {}).items():
        described = _resolved(value, root)
        name = f"{prefix}{key}"
        yield name, _kind(described), _says(described)
        inner = described
        if described.get("type") == "array" or "array" in described.get("type", ()):
            inner = _resolved(described.get("items", {}), root)
            name += "[]"
        for option in (inner, *(_resolved(one, root) for one in inner.get("anyOf", ()))):
            yield from _keys(option, root, f"{name}.")


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node with what its $ref says; its own words go first."""
    if "$ref" not in node:
        return node
    target: Any = root
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**_resolved(target, root), **node}


def _kind(node: Mapping[str, Any]) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    kinds = node.get("type", [])
    if "enum" in node:
        return ", ".join(f"`{'null' if one is None else one}`" for one in node["enum"])
    if not kinds and "anyOf" in node:
        kinds = [one.get("type", "object") for one in node["anyOf"]]
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)


def _says(node: Mapping[str, Any]) -> str:
    """Its own description, or that of what it can be beside null."""
    found = [one["description"] for one in (node, *node.get("anyOf", ())) if "description" in one]
    return found[0] if found else ""


def alerts() -> str:
    """Dashboards, alerts and recording rules."""
    parts = [
        "# Dashboards, alerts, rules\n",
        _ALERTS,
        "## Dashboards\n",
        *_table(
            ("dashboard", "panels"),
            (
                (f"[{name}](../dashboards/grafana/{name})", ", ".join(titles))
                for name, titles in _boards()
            ),
        ),
        "\n## Alerts\n",
        "[tcptrace-alerts.yaml](../dashboards/alerts/tcptrace-alerts.yaml)\n",
        *_table(
            ("alert", "severity", "fires after", "says"),
            (
                (
                    f"[{one.name}](runbook.md#{one.name.lower()})",
                    one.severity,
                    one.wait,
                    _plain(one.summary),
                )
                for one in ALERTS
            ),
        ),
        "\n## Recording rules\n",
        "[tcptrace-recording.yaml](../dashboards/alerts/tcptrace-recording.yaml)\n",
        *_table(
            ("record", "labels of ours that are left"),
            (
                (f"`{one.record}`", ", ".join(f"`{label}`" for label in one.labels))
                for one in RECORDINGS
            ),
        ),
        "",
    ]
    return "\n".join(parts)


def _boards() -> Iterator[tuple[str, list[str]]]:
    for path in sorted((CHECKOUT / "dashboards/grafana").glob("*.json")):
        document = json.loads(path.read_bytes())
        panels = [
            inner for panel in document["panels"] for inner in (panel, *panel.get("panels", ()))
        ]
        yield path.name, [one["title"] for one in panels if one["type"] != "row" and one["title"]]


def _plain(summary: str) -> str:
    """A summary without Grafana's and Prometheus' braces, which no table of ours fills."""
    named = re.sub(
        r"{{ (?:\$labels)?\.(\w*) }}", lambda found: found[1].upper() or "INSTANCE", summary
    )
    return re.sub(r"{{ .*? }}", "", named)


def decisions() -> str:
    """The index of docs/adr."""
    rows = []
    for path in sorted((DOCS / "adr").glob("0*.md")):
        number, _, title = path.read_text(encoding="utf-8").splitlines()[0][2:].partition(". ")
        rows.append((number, f"[{title}]({path.name})"))
    return "\n".join(
        [
            "# Decisions\n",
            "Why it is built as it is, where another way was tried or expected.\n",
            *_table(("", "decision"), rows),
            "",
        ]
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield _row(head)
    yield _row("---" for _ in head)
    for row in rows:
        yield _row(row)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """One line, its bars escaped; those in code need none (Python-Markdown's tables)."""
    line = re.sub(r"\s+", " ", text).strip()
    return "`".join(
        part if number % 2 else part.replace("|", "\\|")
        for number, part in enumerate(line.split("`"))
    )


def _unwrapped(text: str) -> str:
    paragraphs = text.replace("\b", "").split(_BREAK)
    return _BREAK.join(" ".join(one.split()) for one in paragraphs)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands,
    "exit-codes.md": exit_codes,
    "schemas.md": schemas,
    "alerts.md": alerts,
    "adr/index.md": decisions,
}
"""What makes each page, by its path within docs/."""
