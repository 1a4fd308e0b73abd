"""Exits with 0 when the server at a URL is ready, else with 1 and a line that says why. Needs nothing installed.

python docker/healthcheck.py http://127.0.0.1:8501/v2/health/ready
"""

import sys
import urllib.error
import urllib.request

__all__ = ["why_not_ready"]

_TIMEOUT = 2.0
"""Seconds; below the timeout of the Dockerfile's HEALTHCHECK, so that the reason can still be printed."""


def why_not_ready(url: str) -> str | None:
    """What keeps the server from being ready; `None` when nothing does."""
    # A proxy of the environment has no business between a container and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return None if answer.status == 200 else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except OSError as error:
        return f"no answer ({error})"


if __name__ == "__main__":
    reason = why_not_ready(sys.argv[1])
    if reason is not None:
        sys.exit(f"{sys.argv[1]}: {reason}")
