"""What every test of survival needs."""

from __future__ import annotations

import os
import shutil

import pytest
from live.probes import Probes

_TOOLS = ("bpftool", "ip", "modprobe", "mount", "prlimit", "ss")


@pytest.fixture(scope="session", autouse=True)
def _prerequisites() -> None:
    assert os.geteuid() == 0, "these tests must run as root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    assert not missing, f"these tests need {', '.join(missing)}"


@pytest.fixture(scope="session")
def before() -> Probes:
    """What the kernel held of BPF and kprobes before the first trace."""
    return Probes.now()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells of a failure at once: the others take minutes, and the guest may run out of time."""
    if report.failed:
        print(f"\n{report.longreprtext[-4000:]}\n{report.capstdout}", flush=True)
