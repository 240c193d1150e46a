from __future__ import annotations

import pytest

from tcptrace.errors import BadArgument
from tcptrace.otlp.settings import Settings, read_settings

URL = "http://collector:4318"


def test_both_signals_go_below_the_url() -> None:
    told = read_settings("http://collector:4318/otlp/", {})
    assert told.urls == {
        "metrics": "http://collector:4318/otlp/v1/metrics",
        "traces": "http://collector:4318/otlp/v1/traces",
    }
    assert (told.timeout_s, told.period_s, told.gzip, told.headers) == (10.0, 60.0, False, {})


def test_the_environment_is_obeyed() -> None:
    told = read_settings(
        URL,
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://tempo.example/custom",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20dXNlcg==, x-scope=a",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/own.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/own.key",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_METRIC_EXPORT_INTERVAL": "15000",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,k8s.node.name=n%2C1",
            "OTEL_SERVICE_NAME": "edge",
        },
    )
    assert told.urls["traces"] == "https://tempo.example/custom"
    assert told.urls["metrics"] == f"{URL}/v1/metrics"
    assert told.headers == {"authorization": "Basic dXNlcg==", "x-scope": "a"}
    assert (told.ca, told.certificate, told.key) == ("/ca.pem", "/own.pem", "/own.key")
    assert (told.timeout_s, told.period_s, told.gzip) == (2.5, 15.0, True)
    assert told.attributes == {
        "deployment.environment.name": "prod",
        "k8s.node.name": "n,1",
        "service.name": "edge",
    }
    assert Settings(**told.as_json()) == told


def test_a_signal_can_be_left_out() -> None:
    assert list(read_settings(URL, {"OTEL_TRACES_EXPORTER": "none"}).urls) == ["metrics"]
    with pytest.raises(BadArgument, match="both none"):
        read_settings(URL, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is no URL"),
        ("collector:4318", "is no URL"),
        ("grpc://collector:4317", "is no URL"),
        ("http://", "is no URL"),
        ("http://:4318", "is no URL"),
        ("http://h:99999", "Port out of range"),
        ("http://h:x", "Port could not be cast"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://user:secret@h", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://h/?token=secret", "query"),
        ("http://h/#a", "fragment"),
        ("http://h/a b", "ASCII"),
        ("http://h/\x1b[2J", "ASCII"),
        ("http://hé/", "ASCII"),
    ],
)
def test_a_bad_url_is_said(url: str, words: str) -> None:
    with pytest.raises(BadArgument, match=words) as raised:
        read_settings(url, {})
    assert raised.value.exit_code == 2
    assert "secret" not in str(raised.value) or "query" in words
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "h:1", "TRACES_ENDPOINT: h:1: is no URL"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a", "name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=secret", "name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "can't be sent"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0d%0ax:y", "can't be sent"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Content-Length=9", "can't be sent"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "none or gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "99", "milliseconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "9" * 30, "milliseconds"),
        ("OTEL_RESOURCE_ATTRIBUTES", "prod", "name=value"),
        ("OTEL_RESOURCE_ATTRIBUTES", "site=secret M\udcfcnchen", "UTF-8"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s\udcfcd=secret", "UTF-8"),
        ("OTEL_SERVICE_NAME", "secret\udcff", "UTF-8"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
    ],
)
def test_a_bad_variable_is_said_without_its_secret(variable: str, value: str, words: str) -> None:
    with pytest.raises(BadArgument, match=words) as raised:
        read_settings(URL, {variable: value})
    assert variable in str(raised.value)
    assert "secret" not in str(raised.value)
