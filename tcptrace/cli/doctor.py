"""`tcptrace doctor`: what tracing needs here, what was found, how to mend it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click

from tcptrace import __version__
from tcptrace.errors import DoctorFoundProblems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcptrace.kernel.doctor import Check

SCHEMA: Final = "tcptrace.examination.v1"


@click.command("doctor", short_help="Check what tracing needs on this host.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(as_json: bool) -> None:
    """Check everything that tracing needs, and that every hook really fires.

    Exits with 1 if something is missing.
    """
    from tcptrace.kernel.doctor import examine  # noqa: PLC0415 - --help starts fast
    from tcptrace.notes import last_output, note  # noqa: PLC0415

    note(sys.stderr, "examining this host; every hook is made to fire, which takes some seconds")
    checks = examine()
    with last_output():
        click.echo(_as_json(checks) if as_json else _as_table(checks))
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise DoctorFoundProblems(f"{len(failed)} of {len(checks)} checks failed")


def _as_json(checks: Sequence[Check]) -> str:
    ok = all(check.ok for check in checks)
    listed = [
        {"name": check.name, "ok": check.ok, "found": check.found, "mend": check.mend}
        for check in checks
    ]
    told = {"schema": SCHEMA, "tcptrace": __version__, "ok": ok, "checks": listed}
    return json.dumps(told, indent=2)


def _as_table(checks: Sequence[Check]) -> str:
    from tcptrace.sinks.terminal import Paint, safe_text  # noqa: PLC0415

    paint = Paint.of(sys.stdout)
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        mark = paint("✓", "good") if check.ok else paint("✗", "bad")
        lines.append(f"{mark} {check.name:{width}}  {safe_text(check.found)}")
        if not check.ok and check.mend:
            lines.append(f"  {'':{width}}  → {safe_text(check.mend)}")
    if all(check.ok for check in checks):
        lines.append(f"all {len(checks)} checks passed: this host can be traced")
    return "\n".join(lines)
