import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.recall.word2vec.huffman import huffman_paths

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=60).map(lambda values: np.array(values, dtype=np.int64))


def code_of(paths, token):
    turns = paths.turns[paths.offsets[token] : paths.offsets[token + 1]]
    return "".join(str(int(turn)) for turn in turns)


def least_cost(counts):
    """Σ count · length of an optimal code: what a heap merges, summed."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        cost += pair
        heapq.heappush(heap, pair)
    return cost


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_the_code_is_optimal_and_free_of_prefixes(counts):
    paths = huffman_paths(counts)
    lengths = np.diff(paths.offsets)
    assert (counts * lengths).sum() == least_cost(counts)
    codes = sorted(code_of(paths, token) for token in np.flatnonzero(counts))
    assert not any(longer.startswith(code) for code, longer in pairwise(codes))
    assert not lengths[counts == 0].any()


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_an_inner_node_stands_for_one_beginning_of_a_code(counts):
    paths = huffman_paths(counts)
    beginnings = {}
    for token in range(len(counts)):
        code, begin = code_of(paths, token), paths.offsets[token]
        for depth in range(len(code)):
            node = int(paths.nodes[begin + depth])
            assert beginnings.setdefault(node, code[:depth]) == code[:depth]
    assert len(beginnings) == paths.n_nodes == max(np.count_nonzero(counts) - 1, 0)
    assert all(0 <= node < paths.n_nodes for node in beginnings)


def test_four_tokens_by_hand():
    # 1 + 2 = 3 is node 0; 3 + 4 = 7 is node 1; 7 + 8 = 15 is node 2, the root. The lighter child is turn 1.
    paths = huffman_paths(np.array([8, 1, 4, 2]))
    assert [code_of(paths, token) for token in range(4)] == ["0", "111", "10", "110"]
    assert paths.nodes.tolist() == [2, 2, 1, 0, 2, 1, 2, 1, 0]


@pytest.mark.parametrize("counts", [[], [0, 0], [0, 3]])
def test_up_to_one_token_needs_no_decision(counts):
    paths = huffman_paths(np.array(counts, dtype=np.int64))
    assert paths.offsets.tolist() == [0] * (len(counts) + 1)
    assert paths.n_nodes == len(paths.nodes) == 0
