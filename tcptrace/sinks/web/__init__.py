"""The HTTP side of the exporter: an address, a web configuration, a server. It knows no metrics."""

from tcptrace.sinks.web.address import parse_address
from tcptrace.sinks.web.config import WebConfig, read_config
from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.server import MetricsServer
from tcptrace.sinks.web.site import Render

__all__ = ["Limits", "MetricsServer", "Render", "WebConfig", "parse_address", "read_config"]
