import threading

import pytest

from recsys.engine.threads import map_chunks


def test_results_come_in_the_order_of_the_chunks():
    assert map_chunks(lambda number: number * number, list(range(50))) == [number * number for number in range(50)]
    assert map_chunks(str, []) == []


def test_one_chunk_starts_no_thread():
    assert map_chunks(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_several_chunks_are_worked_on_elsewhere():
    assert threading.current_thread() not in map_chunks(lambda _: threading.current_thread(), [0, 1])


def test_an_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        map_chunks(lambda number: 1 // number, [2, 1, 0])
