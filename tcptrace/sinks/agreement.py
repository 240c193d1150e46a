"""How far a watched host's figures are the kernel's, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.terminal import safe_text
from tcptrace.sinks.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.lifecycle.explaining import Finding
    from tcptrace.wire.head import Losses

_MOST: Final = 3


def standing(findings: Iterable[Finding], losses: Losses) -> list[str]:
    """Whether all figures are the kernel's, but for what was lost; and what that was.

    Args:
        findings: every figure that was compared.
        losses: of the source.
    """
    found = list(findings)
    told = "agrees with the kernel" if found else "not compared with the kernel"
    if wrong := differences(found):
        told = f"differs from the kernel: {wrong}"
    elif any(finding.comparison.difference for finding in found):
        told = "agrees with the kernel but for counted losses"
    return [told, *_losses(losses)]


def differences(findings: Iterable[Finding]) -> str:
    """Figures that no counted loss explains, the first: `ListenDrops -13, …`; "" if none is."""
    wrong = [
        f"{one.figure.name} {one.difference:+}"
        for one in (finding.comparison for finding in findings if not finding.is_explained)
    ]
    more = ", …" if len(wrong) > _MOST else ""
    return f"{', '.join(wrong[:_MOST])}{more}"


def _losses(losses: Losses) -> list[str]:
    """Whose events were lost."""
    if not losses.lost_records:
        return []
    hooks = sorted(losses.lost_by_hook.items(), key=lambda lost: -lost[1])
    worst = [f"{safe_text(hook)} {count:,}" for hook, count in hooks[:_MOST]]
    more = ", …" if len(hooks) > _MOST else ""
    by_hook = f": {', '.join(worst)}{more}" if worst else ""
    return [f"{plural(losses.lost_records, 'event')} lost{by_hook}"]
