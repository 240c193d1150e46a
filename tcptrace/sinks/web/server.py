"""The exporter's HTTP server: binds, serves in threads of its own, takes a new configuration."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.web.address import address_text, listen
from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.reception import Reception
from tcptrace.sinks.web.request import BadRequest, parse_head
from tcptrace.sinks.web.settings import WebConfig
from tcptrace.sinks.web.site import Pages, Render, Response, Site, refusal

if TYPE_CHECKING:
    from tcptrace.sinks.web.connection import Connection

_END_S: Final = 5.0
"""How long `close` waits for the thread; it needs a second."""
_TLS_ONLY: Final = Response(HTTPStatus.BAD_REQUEST, b"this port speaks https\n")


class MetricsServer:
    """Serves `/metrics`, `/-/healthy`, and pages if there are any.

    Listens once constructed, so that privileges can be dropped before `start`. Requests are served
    concurrently, but `render` is called by one at a time.

    Args:
        address: host and port; an empty host, or `::`, means every address.
        render: from an Accept header to the metrics and their content type. What it raises is
            reported on stderr, and answered with 500.
        config: certificates, users, headers.
        pages: what else is served; called by several threads at once.
        limits: how many clients, how long.

    Raises:
        BadArgument: this host has no such address.
        OutputFailed: the port is taken, or not allowed.
    """

    def __init__(
        self,
        address: tuple[str, int],
        render: Render,
        config: WebConfig | None = None,
        *,
        pages: Pages | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._render = render
        self._pages = pages
        self._rendering = threading.Lock()
        self._limits = limits or Limits()
        self._site = self._site_of(config)
        listener = listen(*address)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        """Host and port; the real one if 0 was asked for."""
        self._reception = Reception(listener, self._serve, self._may_stay, self._limits)
        self._thread = threading.Thread(
            target=self._reception.run, name="tcptrace-reception", daemon=True
        )
        self._closed = False

    @property
    def url(self) -> str:
        """Where the metrics are, as far as the address tells."""
        scheme = "https" if self._site.tls else "http"
        return f"{scheme}://{address_text(*self.address)}/metrics"

    def start(self) -> None:
        """Serves from now on, in daemon threads."""
        self._thread.start()

    def close(self) -> None:
        """Ends: responses under way have a second. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        if self._thread.ident is None:
            self._reception.dispose()
        else:
            self._reception.close()
            self._thread.join(_END_S)

    def reload(self, config: WebConfig | None) -> None:
        """Serves under another configuration: connections of the old one end."""
        self._site = self._site_of(config)
        self._reception.forget()

    def _site_of(self, config: WebConfig | None) -> Site:
        return Site(config or WebConfig(), self._render_alone, self._pages)

    def _render_alone(self, accept: str) -> tuple[bytes, str]:
        with self._rendering:
            return self._render(accept)

    def _may_stay(self, connection: Connection) -> bool:
        return connection.site is None or connection.site is self._site

    def _serve(self, connection: Connection) -> bool:
        """Serves one request, after the handshake if it is the first; returns whether to stay."""
        site = self._site
        try:
            if connection.site is None:
                if not self._set_up(connection, site):
                    connection.linger()
                    return False
            elif not self._may_stay(connection):
                connection.part()
                return False
            return self._exchange(connection, site)
        except (OSError, ValueError):  # gone, or too slow; ValueError: ssl's for closed sockets
            return False

    def _set_up(self, connection: Connection, site: Site) -> bool:
        connection.site = site
        if site.tls is None:
            return True
        if not connection.speaks_tls():
            self._send(connection, site, _TLS_ONLY)
            return False
        try:
            return connection.secure(site.tls)
        except TimeoutError:
            raise
        except OSError:  # its alert is on the way
            return False

    def _exchange(self, connection: Connection, site: Site) -> bool:
        try:
            head = connection.read_head()
            if head is None:
                connection.part()
                return False
            request = parse_head(head)
        except BadRequest as bad:
            self._send(connection, site, refusal(bad.status))
            connection.linger()
            return False
        response = site.answer(request)
        stays = request.keep_alive and site is self._site and not self._closed
        self._send(connection, site, response, has_body=request.method != "HEAD", stays=stays)
        if request.has_body:
            connection.linger()
        elif not stays:
            connection.part()
        return stays

    def _send(
        self,
        connection: Connection,
        site: Site,
        response: Response,
        *,
        has_body: bool = True,
        stays: bool = False,
    ) -> None:
        data = site.encode(response, has_body=has_body, keep_alive=stays)
        connection.send(data, self._limits.timeout_s)
