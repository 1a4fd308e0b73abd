"""The HTTP service over one bundle."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request as HttpRequest

from recsys.bundle.store import resolve
from recsys.errors import InputError
from recsys.funnel.runtime import Funnel
from recsys.serving.document import bundle_document
from recsys.serving.limits import BodyLimit
from recsys.serving.schema import PredictRequest, PredictResponse, RecommendRequest, RecommendResponse

__all__ = ["MAX_BODY_BYTES", "create_app"]

MAX_BODY_BYTES = 8 * 2**20
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_log = logging.getLogger(__name__)


def create_app(path: Path, *, version: int | None = None, max_body_bytes: int = MAX_BODY_BYTES) -> FastAPI:
    """A service that loads its bundle when it starts.

    Args:
        path: a bundle, or a folder of bundles of which the latest is served.
        version: the version to serve from a folder of bundles, whatever is newer.
        max_body_bytes: larger request bodies are answered with 413.

    Raises:
        BundleError: at start, when the bundle is missing or damaged.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.funnel = Funnel.load(resolve(path, version))
        app.state.metrics.version.set(app.state.funnel.version)
        yield
        app.state.funnel = None

    app = FastAPI(title="recsys", lifespan=lifespan)
    app.state.funnel = None
    app.state.metrics = _Metrics()
    app.add_middleware(BodyLimit, limit=max_body_bytes)
    _add_errors(app)
    _add_health(app)
    _add_recommend(app)
    _add_document(app)
    _add_predict(app)
    return app


class _Metrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recsys_requests_total", "Answers by path and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "recsys_request_seconds", "Time to answer.", ["path"], registry=self.registry, buckets=_BUCKETS
        )
        self.version = Gauge("recsys_bundle_version", "Version in service.", registry=self.registry)


def _funnel(app: FastAPI) -> Funnel:
    funnel: Funnel | None = app.state.funnel
    if funnel is None:
        raise HTTPException(503, "no bundle is loaded yet; try again")
    return funnel


def _add_recommend(app: FastAPI) -> None:
    @app.post("/v1/recommend")
    def recommend(body: RecommendRequest) -> RecommendResponse:
        """The best items for one request."""
        funnel = _funnel(app)
        response = funnel.recommend([body.to_request()], body.k, explain=body.explain)[0]
        return RecommendResponse.of(response, funnel.manifest.name, funnel.version, explain=body.explain)


def _add_document(app: FastAPI) -> None:
    of_service = app.openapi

    def openapi() -> dict[str, Any]:
        """The service's document; once a bundle is loaded, with the columns it reads."""
        funnel: Funnel | None = app.state.funnel
        document = of_service()
        return document if funnel is None else bundle_document(document, funnel.parts.encoder, funnel.parts.rows)

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _add_predict(app: FastAPI) -> None:
    @app.post("/v1/predict")
    def predict(body: PredictRequest) -> PredictResponse:
        """What the ranker says of rows, each by its own columns."""
        funnel = _funnel(app)
        predictions = funnel.predict(body.rows)
        ranker = funnel.parts.ranker
        tasks = None if ranker is None else ranker.tasks
        return PredictResponse.of(predictions, tasks, funnel.manifest.name, funnel.version)


def _add_health(app: FastAPI) -> None:
    @app.get("/v2/health/live")
    def live() -> dict[str, bool]:
        """The process answers."""
        return {"live": True}

    @app.get("/v2/health/ready")
    def ready() -> dict[str, Any]:
        """A bundle is loaded and has replayed its golden requests."""
        funnel = _funnel(app)
        return {"ready": True, "bundle": funnel.manifest.name, "bundle_version": funnel.version}

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.middleware("http")
    async def count(request: HttpRequest, call_next: Callable[[HttpRequest], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        # The route's template, not the caller's path: unknown paths must not make new time series.
        path = getattr(request.scope.get("route"), "path", "other")
        app.state.metrics.requests.labels(path, response.status_code).inc()
        app.state.metrics.seconds.labels(path).observe(time.perf_counter() - began)
        return response


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: HttpRequest, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _error(400, f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}")
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return _error(422, f"{where}: {first['msg']}")

    @app.exception_handler(InputError)
    async def refused(_: HttpRequest, error: InputError) -> JSONResponse:
        return _error(422, str(error))

    @app.exception_handler(StarletteHTTPException)
    async def http(_: HttpRequest, error: StarletteHTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def failed(request: HttpRequest, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _error(500, "the request could not be answered; the server's log says why")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
