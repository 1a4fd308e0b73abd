import pytest
from pydantic import ValidationError

from recsys.data.config import DataConfig


def build(**changes):
    log = {"path": "events.csv", "labels": ["rating"], **changes.pop("log", {})}
    return DataConfig.model_validate({"interactions": log, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log": {"timestamp": None}}, "order is timestamp but interactions.timestamp is null"),
        ({"positive": {"label": "click", "at_least": 1}}, r"positive.label is 'click'; expected one of .*\['rating'\]"),
        ({"log": {"labels": ["rating", "rating"]}}, "rating is the name of two columns"),
        ({"log": {"context": {"row": "numeric"}}}, "row is the name of two columns"),
        ({"log": {"timestamp": "time", "context": {"timestamp": "timestamp"}}}, "timestamp is the name of two columns"),
        ({"users": {"path": "u.csv", "columns": {"user_id": "categorical"}}}, "user_id is there by itself"),
        ({"items": {"path": "i.csv", "columns": {"item_id": "categorical"}}}, "item_id is there by itself"),
        ({"max_reject_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_contradiction_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        build(**changes)


def test_the_time_of_an_event_may_be_context():
    build(log={"context": {"timestamp": "timestamp"}})


def test_without_an_order_no_time_is_needed():
    build(log={"timestamp": None}, order="row")
