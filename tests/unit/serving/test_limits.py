import asyncio
import json

import pytest

from recsys.serving.limits import BodyLimit


async def echo(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(chunks, headers=(), limit=10, kind="http"):
    """Sends a body in chunks through the middleware; returns the status, the body, and how many chunks were read."""
    sent, queue = [], list(chunks)

    async def receive():
        chunk = queue.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(queue)}

    async def send(message):
        sent.append(message)

    asyncio.run(BodyLimit(echo, limit)({"type": kind, "headers": list(headers)}, receive, send))
    return sent[0]["status"], sent[1]["body"], len(chunks) - len(queue)


@pytest.mark.parametrize("chunks", [[b""], [b"0123456789"], [b"01", b"", b"23456789"]])
def test_a_body_within_the_limit_arrives_whole(chunks):
    assert ask(chunks) == (200, b"".join(chunks), len(chunks))


def test_a_declared_size_over_the_limit_is_refused_unread():
    status, body, read = ask([b"x"], headers=[(b"content-length", b"11")])
    assert (status, read) == (413, 0)
    assert json.loads(body) == {"error": "the body is larger than 10 bytes"}


def test_an_undeclared_size_is_refused_as_soon_as_it_is_over():
    status, _, read = ask([b"012345"] * 100)
    assert (status, read) == (413, 2)


def test_a_nonsensical_declared_size_does_not_help():
    assert ask([b"x" * 11], headers=[(b"content-length", b"-5")])[0] == 413


def test_other_protocols_pass():
    assert ask([b"x" * 100], kind="lifespan")[0] == 200
