import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from recsys.errors import BundleError
from recsys.funnel.requests import Recommendation, Request, Response
from recsys.funnel.runtime import Funnel
from recsys.serving.app import create_app
from recsys.serving.schema import RecommendResponse
from recsys.serving.server import limit_threads


@pytest.fixture
def client(tiny_bundle):
    with TestClient(create_app(tiny_bundle), raise_server_exceptions=False) as client:
        yield client


def test_a_known_user_gets_what_the_runtime_says(client, tiny_bundle):
    answer = client.post("/v1/recommend", json={"user_id": "u3", "k": 5, "explain": True})
    assert answer.status_code == 200
    body = answer.json()
    expected = Funnel.load(tiny_bundle).recommend([Request(user_id="u3")], 5, explain=True)[0]
    assert [(i["item_id"], i["rank"], i["title"], i["routes"]) for i in body["items"]] == [
        (i.item_id, i.rank, i.title, i.routes) for i in expected.items
    ]
    assert body["known_user"] is True
    assert (body["bundle"], body["bundle_version"]) == ("tiny", int(tiny_bundle.name))


@pytest.mark.parametrize("told", [None, 0.25, {"click": 0.5, "buy": 0.125}])
def test_probabilities_stand_beside_the_score(told):
    items = (Recommendation("a", None, 1, 2.5, probability=told),)
    body = RecommendResponse.of(Response(items, known_user=True), "shop", 3, explain=False).model_dump(mode="json")
    assert (body["items"][0]["score"], body["items"][0]["probability"]) == (2.5, told)


def test_everything_is_optional(client):
    body = client.post("/v1/recommend", json={}).json()
    assert len(body["items"]) == 10
    assert body["known_user"] is False
    assert body["items"][0]["routes"] is None


def test_unknown_items_are_reported(client):
    body = client.post("/v1/recommend", json={"history": ["i1", "nowhere", "ünbekannt 'x\""]}).json()
    assert body["unknown_items"] == ["nowhere", "ünbekannt 'x\""]
    assert len(body["items"]) == 10


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"k": 0}, "k: "),
        ({"k": 1001}, "k: "),
        ({"k": "many"}, "k: "),
        ({"usr_id": "u1"}, "usr_id: Extra inputs are not permitted"),
        ({"user_id": "x" * 513}, "user_id: "),
        ({"user_id": True}, "user_id: expected an id: text of 1 to 512 characters, or a whole number"),
        ({"user_id": 7.5}, "user_id: expected an id"),
        ({"user_id": ""}, "user_id: expected an id"),
        ({"user_id": ["u1"]}, "user_id: expected an id"),
        ({"user_id": "\ud800"}, "user_id: expected an id"),
        ({"history": ["i1", True]}, "history.1: expected an id"),
        ({"k": True}, "k: "),
        ({"k": 3.0}, "k: "),
        ({"features": {"age": float("nan")}}, "features.age: expected a finite number; send null for a missing value"),
        ({"features": {"age": float("-inf")}}, "features.age: expected a finite number"),
        ({"features": {"age": [float("inf")]}}, "features.age: expected a finite number"),
        (
            {"context": {"hour": {"a": 1}}},
            "context.hour: expected text, a number, true, false, null, or a list",
        ),
        ({"features": {"age": "old"}}, "user.age: found 'old', expected a number, such as 12.5"),
        ({"features": {"age": [30]}}, "user.age: found [30], expected a number, such as 12.5"),
        ({"features": {"city": ["Köln"]}}, "user.city: found ['Köln'], expected text, a whole number, true or false"),
        ({"features": {"city": ["x"] * 1001}}, "features.city: expected at most 1000 values"),
        ({"history": ["i1"] * 10_001}, "history: "),
        ({"history": ["x" * 513]}, "history.0: "),
        ({"history": "i1"}, "history: "),
        ({"features": {"shoe_size": 43}}, "user.shoe_size: the bundle does not read this column; it reads "),
        ({"context": {"hour": 3}}, "context.hour: the bundle does not read this column; it reads no columns"),
        ([], "body: "),
    ],
)
def test_a_body_that_breaks_a_rule_is_422_and_named(client, body, where):
    # NaN and Infinity are no JSON, and yet written by Python and read by most.
    answer = client.post("/v1/recommend", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].startswith(where)


@pytest.mark.parametrize("name", ["u3", " u3 "])
def test_a_whole_number_is_an_id(client, name):
    body = client.post("/v1/recommend", json={"user_id": name, "history": ["i1", 7, 8.0, 2**70]}).json()
    assert body["known_user"] is True
    assert body["unknown_items"] == ["7", "8", str(2**70)]


def test_a_body_that_is_no_json_is_400(client):
    answer = client.post("/v1/recommend", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body is not JSON")


def test_unknown_paths_and_methods(client):
    assert (client.get("/nowhere").status_code, client.get("/nowhere").json()) == (404, {"error": "Not Found"})
    assert client.get("/v1/recommend").status_code == 405


def test_a_body_over_the_limit_is_413(tiny_bundle):
    with TestClient(create_app(tiny_bundle, max_body_bytes=100)) as client:
        answer = client.post("/v1/recommend", json={"history": ["i1"] * 100})
    assert answer.status_code == 413
    assert answer.json() == {"error": "the body is larger than 100 bytes"}


def test_health(client, tiny_bundle):
    assert client.get("/v2/health/live").json() == {"live": True}
    ready = {"ready": True, "bundle": "tiny", "bundle_version": int(tiny_bundle.name)}
    assert client.get("/v2/health/ready").json() == ready


def test_before_a_bundle_is_loaded_the_service_lives_but_is_not_ready(tiny_bundle):
    client = TestClient(create_app(tiny_bundle))  # not entered: nothing has started
    assert client.get("/v2/health/live").status_code == 200
    for answer in (client.get("/v2/health/ready"), client.post("/v1/recommend", json={})):
        assert (answer.status_code, answer.json()) == (503, {"error": "no bundle is loaded yet; try again"})


def test_a_failure_inside_is_500_without_details(client):
    client.app.state.funnel = object()
    answer = client.post("/v1/recommend", json={})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the request could not be answered; the server's log says why"}


def test_metrics_count_answers_by_path_and_status(client):
    client.post("/v1/recommend", json={})
    client.post("/v1/recommend", json={"k": 0})
    client.get("/secret/17")
    text = client.get("/metrics").text
    assert 'recsys_requests_total{path="/v1/recommend",status="200"} 1.0' in text
    assert 'recsys_requests_total{path="/v1/recommend",status="422"} 1.0' in text
    assert 'recsys_requests_total{path="other",status="404"} 1.0' in text
    assert "secret" not in text


def test_many_at_once_get_the_answers_they_get_alone(client):
    bodies = [{"user_id": f"u{n}", "k": 5} for n in range(8)]
    alone = [client.post("/v1/recommend", json=body).json() for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda body: client.post("/v1/recommend", json=body).json(), bodies)) == alone


def test_a_pinned_version_is_served(tiny_bundle):
    with TestClient(create_app(tiny_bundle.parent, version=int(tiny_bundle.name))) as client:
        assert client.post("/v1/recommend", json={}).json()["bundle_version"] == int(tiny_bundle.name)
    with pytest.raises(BundleError, match="no version 77"), TestClient(create_app(tiny_bundle.parent, version=77)):
        pass


def test_libraries_are_held_to_one_thread_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    limit_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("3", "1")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")


def test_a_real_server_answers_on_loopback(tiny_bundle):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import sys; from pathlib import Path; from recsys.serving.server import serve; "
        "serve(Path(sys.argv[1]), port=int(sys.argv[2]))"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(tiny_bundle.parent), str(port)])
    try:
        assert wait_until_ready(port)
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"user_id": "u1", "k": 3})
        assert len(answer.json()["items"]) == 3
    finally:
        server.terminate()
        assert server.wait(20) in (0, -15)


def wait_until_ready(port):
    for _ in range(200):
        try:
            if json.loads(httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").content)["ready"]:
                return True
        except httpx.ConnectError:
            time.sleep(0.1)
    return False
