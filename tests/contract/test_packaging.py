"""The unit, the package, the image and the DaemonSet agree with each other and with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from fleet.oci import container, entrypoint
from fleet.series import dropped

from dashboards.build.fleet_rules import FLEET
from dashboards.build.promql import uses
from tcptrace import __version__
from tcptrace.cli.main import EXIT_CODES
from tcptrace.errors import BadArgument, CannotTrace, NotThere, OutputFailed
from tcptrace.kernel.capabilities import NEEDED
from tcptrace.kernel.seccomp import LIBRARY
from tcptrace.sinks.web.site import Site

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGING: Final = ROOT / "packaging"
KUBERNETES: Final = PACKAGING / "kubernetes"
UNIT: Final = (PACKAGING / "tcptrace.service").read_text()
CONTROL: Final = (PACKAGING / "debian/control").read_text()
NAMES: Final = {one.name for one in NEEDED}
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def documents(directory: str) -> list[dict[str, Any]]:
    return [
        document
        for path in sorted((KUBERNETES / directory).glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def of_kind(kind: str, directory: str = "base") -> dict[str, Any]:
    (found,) = (one for one in documents(directory) if one["kind"] == kind)
    return found


# One truth about privileges.


def test_the_unit_gives_the_capabilities_that_are_needed() -> None:
    (line,) = re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT, re.MULTILINE)
    assert set(line.split()) == NAMES


def test_the_daemonset_gives_the_same() -> None:
    assert set(container().capabilities) == NAMES


def test_security_md_names_each() -> None:
    text = (ROOT / "docs/security.md").read_text()
    for name in NAMES:
        assert re.search(rf"\b(CAP_)?{name.removeprefix('CAP_')}\b", text), name


def test_the_container_gets_nothing_else() -> None:
    made = container()
    assert "hostNetwork" not in made.pod
    assert "hostIPC" not in made.pod
    assert made.pod["automountServiceAccountToken"] is False
    assert "privileged" not in made.security
    assert made.security["readOnlyRootFilesystem"] is True
    assert made.security["allowPrivilegeEscalation"] is False
    assert all(one["readOnly"] for one in made.told["volumeMounts"])
    assert set(made.told["resources"]["limits"]) == {"memory"}


# What refers to each other.


def test_every_resource_is_in_the_kustomization() -> None:
    for directory in ("base", "podmonitor"):
        kustomization = of_kind("Kustomization", directory)
        files = {path.name for path in (KUBERNETES / directory).glob("*.yaml")}
        named = set(kustomization["resources"]) - {"../base"}
        assert named == files - {"kustomization.yaml"}


def test_what_is_selected_is_what_is_labelled() -> None:
    spec = of_kind("DaemonSet")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    monitor = of_kind("PodMonitor", "podmonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    # Rules and dashboards ask for this job.
    assert labels[monitor["jobLabel"]] == "tcptrace"
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {one["name"] for one in container().told["ports"]}


def test_its_class_and_its_namespace_are_there() -> None:
    assert container().pod["priorityClassName"] == of_kind("PriorityClass")["metadata"]["name"]
    assert of_kind("Kustomization")["namespace"] == of_kind("Namespace")["metadata"]["name"]


def test_ports_are_those_that_it_listens_at() -> None:
    made = container()
    (port,) = (one["containerPort"] for one in made.told["ports"])
    assert made.told["args"][-1].endswith(f":{port}")
    annotations = of_kind("DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_for_what_is_served(probe: str) -> None:
    path = container().told[probe]["httpGet"]["path"]
    assert f'case "{path}"' in Path(sys.modules[Site.__module__].__file__ or "").read_text()


def test_versions_are_the_projects() -> None:
    assert container().told["image"] == f"tcptrace:{__version__}"
    (changelog, *_) = (PACKAGING / "debian/changelog").read_text().splitlines()
    assert changelog.startswith(f"tcptrace-bpf ({__version__}-")


# Prometheus' configurations.


def needed(boards: tuple[str, ...], rules: tuple[str, ...]) -> set[str]:
    """What dashboards and rule files ask for."""
    home = ROOT / "dashboards"
    exprs = [
        target["expr"]
        for name in boards
        for panel in json.loads((home / f"grafana/tcptrace-{name}.json").read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    exprs += [
        rule["expr"]
        for name in rules
        for group in yaml.safe_load((home / f"alerts/tcptrace-{name}.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    return {selector.metric for expr in exprs for selector in uses(expr).selectors}


def test_what_is_dropped_is_nothing_that_is_asked_for() -> None:
    asked = needed(("fleet", "overview"), ("recording", "alerts"))
    assert len(asked) > 30
    assert [name for name in asked if dropped().fullmatch(name)] == []


def test_what_is_gathered_is_all_that_is_asked_for() -> None:
    config = yaml.safe_load((PACKAGING / "prometheus/global.yml").read_text())
    (scrape,) = config["scrape_configs"]
    wanted = [
        re.compile(found[1])
        for match in scrape["params"]["match[]"]
        if (found := re.search(r'__name__=~?"([^"]+)"', match))
    ]
    own = {rule.record for rule in FLEET}
    for name in needed(("fleet",), ("fleet",)) - own:
        assert any(pattern.fullmatch(name) for pattern in wanted), name


@pytest.mark.parametrize("name", ["shard", "global"])
def test_promtool_finds_the_configuration_sound(name: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "config", PACKAGING / f"prometheus/{name}.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The unit.


def test_the_unit_gives_up_what_a_restart_can_not_mend() -> None:
    mended = {BadArgument: False, CannotTrace: False, OutputFailed: True, NotThere: True}
    for error, mends in mended.items():
        assert (str(error.exit_code) not in set_to("RestartPreventExitStatus").split()) is mends
    # Else the limit would never be reached.
    starts_s = int(set_to("StartLimitBurst")) * _seconds("RestartSec")
    assert starts_s < _seconds("StartLimitIntervalSec")
    head = UNIT.partition("[Service]")[0]
    assert "StartLimitBurst=" in head, "where systemd looks for it"


def set_to(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def _seconds(name: str) -> int:
    value = set_to(name)
    return int(value[:-1]) * {"s": 1, "h": 3600}[value[-1]]


# The package.


def test_the_package_has_the_unit_at_its_own_place() -> None:
    """build-deb changes just that line."""
    assert UNIT.count("/opt/tcptrace/bin/tcptrace") == 1
    assert entrypoint() == ["/usr/bin/tcptrace"]
    assert "EnvironmentFile=-/etc/default/tcptrace" in UNIT
    assert 'OPTIONS=""' in (PACKAGING / "tcptrace.default").read_text()


def test_every_dependency_is_debians_or_carried() -> None:
    vendored = {
        line.partition("==")[0]
        for line in (PACKAGING / "vendored.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    no_requirement = {"bpfcc", "grpcio"}  # not of PyPI; an extra
    debians = set(re.findall(r"\bpython3-([\w-]+)", CONTROL)) - no_requirement
    called = {"PyYAML": "yaml"}
    wanted = {re.split(r"[<>=]", one)[0] for one in PROJECT["dependencies"]}
    assert debians < {called.get(one, one) for one in wanted} <= debians | vendored
    assert LIBRARY.startswith("libseccomp")
    assert "libseccomp2" in CONTROL


def test_the_manual_page_has_every_command() -> None:
    done = subprocess.run(
        [sys.executable, PACKAGING / "manual.py"], capture_output=True, text=True, check=True
    )
    for path in (ROOT / "tcptrace/cli").glob("*.py"):
        if "\n@click.command(" in path.read_text():
            assert f".SS tcptrace {path.stem} " in done.stdout
    for code in EXIT_CODES:
        assert f"\n.B {code}\n" in done.stdout


def test_the_package_has_every_shells_completion() -> None:
    build = (PACKAGING / "build-deb").read_text()
    for path in (PACKAGING / "completions").iterdir():
        assert f":{path.name}" in build
