"""Runs the HTTP service in this process."""

import os
from pathlib import Path

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "limit_threads", "serve"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8501
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads() -> None:
    """One thread for each numerical library, unless the environment says otherwise.

    Requests are the parallelism: libraries that also spread one request over the cores make all of them wait. The
    libraries read these variables when they are imported, so this comes before them.
    """
    for name in _THREADS:
        os.environ.setdefault(name, "1")


def serve(path: Path, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, *, version: int | None = None) -> None:
    """Serves a bundle until the process is told to stop.

    Args:
        path: a bundle, or a folder of bundles of which the latest is served.
        host: the address to listen on; the default can be reached from this machine only.
        port: the port to listen on.
        version: the version to serve from a folder of bundles.

    Raises:
        BundleError: the bundle is missing or damaged; nothing listens then.
    """
    limit_threads()
    import uvicorn

    from recsys.bundle.store import resolve
    from recsys.serving.app import create_app

    resolve(path, version)
    uvicorn.run(create_app(path, version=version), host=host, port=port, log_level="warning")
