"""What one server process counts about its requests for ``/metrics``: durations, received bytes, and problems by code.

Each application has its own registry, so that several applications in one process do not mix their numbers.
"""

from __future__ import annotations

import time
from http import HTTPMethod, HTTPStatus

from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBLEM = "ldsboard.problem"
"""Key in the scope of a request; its value is the code of the problem that the response reports."""

UNMATCHED = "unmatched"
"""Label of the requests for addresses that no route has."""

OTHER_METHOD = "other"
"""Label of the requests whose method is not an HTTP method."""

NO_RESPONSE = "none"
"""Label of the requests that got no response, because the client had closed the connection."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of durations, in seconds. A client that waits for a change waits for up to 25 s."""


class RequestMetrics:
    """The counters of one application.

    The values of all labels come from fixed sets: route templates, methods, classes of status codes, and codes of problems. No
    client can therefore add time series.

    Attributes
    ----------
    registry
        The registry of the counters. It also has the processor time, the memory and the open files of the process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._durations = Histogram(
            "ldsboard_request_seconds",
            "Seconds from the start of a request to the end of its response",
            ("route", "method", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._received = Counter(
            "ldsboard_received_bytes", "Bytes of request bodies that arrived, as sent", registry=self.registry
        )
        self._problems = Counter(
            "ldsboard_problems", "Responses that report a problem", ("code",), registry=self.registry
        )
        self._templates: dict[int, str] = {}
        self._mounts: tuple[str, ...] = ()

    def name_routes(self, routes: list[BaseRoute]) -> None:
        """Note the template of every route of the application, with the prefix of its router."""
        found = list(iter_route_contexts(routes))
        self._templates = {id(route.original_route): str(route.path) for route in found}
        self._mounts = tuple(str(route.path) for route in found if isinstance(route.original_route, Mount))

    def template(self, scope: Scope) -> str:
        """Return the template of the route that handled a request."""
        if (route := scope.get("route")) is not None:
            return self._templates.get(id(route), UNMATCHED)
        return next((path for path in self._mounts if scope["path"].startswith(f"{path}/")), UNMATCHED)

    def count_bytes(self, received: int) -> None:
        """Count bytes of a request body."""
        self._received.inc(received)

    def count_request(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Count a request that has ended, with the status of its response; None if there was no response."""
        method = scope["method"] if scope["method"] in HTTPMethod.__members__ else OTHER_METHOD
        status_class = NO_RESPONSE if status is None else f"{status // 100}xx"
        self._durations.labels(self.template(scope), method, status_class).observe(seconds)
        if code := scope.get(PROBLEM):
            self._problems.labels(code).inc()


class Measured:
    """Middleware that counts every request. HEAD requests count as GET, because `Head` passes them on as GET."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: int | None = None
        started = time.perf_counter()

        async def receive_counted() -> Message:
            message = await receive()
            if body := message.get("body"):
                self._metrics.count_bytes(len(body))
            return message

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive_counted, send_noted)
        except Exception:
            # The outermost middleware responds to errors that no handler expects.
            status = status or HTTPStatus.INTERNAL_SERVER_ERROR
            scope[PROBLEM] = "internal.failed"
            raise
        finally:
            self._metrics.count_request(scope, status, time.perf_counter() - started)
