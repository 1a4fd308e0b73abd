"""What a ranker learns from: groups against a loop over sets, and frequencies against arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.sampling import popularity_chances, sample_groups, thinned


@st.composite
def requests(draw):
    """Candidates with labels and withheld items, as the candidates stage hands them over."""
    n_items = draw(st.integers(1, 12))
    width = draw(st.integers(1, 6))
    rows = draw(st.integers(0, 4))
    codes = np.full((rows, width), -1, dtype=np.int32)
    labels = np.zeros((rows, width), dtype=np.float32)
    withheld = np.full((rows, 4), -1, dtype=np.int32)
    for row in range(rows):
        found = draw(st.lists(st.integers(0, n_items - 1), max_size=width, unique=True))
        codes[row, : len(found)] = found
        right = draw(st.lists(st.sampled_from(found), unique=True)) if found else []
        labels[row, : len(found)] = [item in right for item in found]
        other = draw(st.lists(st.integers(0, n_items - 1), max_size=2))
        # A request's positives are withheld, too; no route need have found all of them.
        known = [*right, *other][:4]
        withheld[row, : len(known)] = known
    return codes, labels, withheld, n_items


def sets(values, keep=None):
    """The items of each row, in no order, padding left out."""
    keep = values >= 0 if keep is None else keep & (values >= 0)
    return [row[mask].tolist() for row, mask in zip(values, keep, strict=True)]


@settings(deadline=None, max_examples=150)
@given(requests(), st.integers(0, 7), st.integers(0, 5), st.integers(0, 9))
def test_a_group_is_what_its_definition_says(given_, negatives, uniform, seed):
    codes, labels, withheld, n_items = given_
    groups = sample_groups(
        codes,
        labels,
        withheld,
        candidate_negatives=negatives,
        uniform_negatives=uniform,
        n_items=n_items,
        rng=np.random.default_rng(seed),
    )
    assert groups.codes.shape == groups.labels.shape
    assert (groups.codes.dtype, groups.labels.dtype) == (np.int32, np.float32)
    split = groups.codes.shape[1] - uniform
    for row, found in enumerate(sets(codes)):
        right = set(sets(codes, labels > 0)[row])
        near, far = groups.codes[row, :split], groups.codes[row, split:]
        assert set(near[groups.labels[row, :split] > 0].tolist()) == right
        drawn = near[(groups.labels[row, :split] == 0) & (near >= 0)].tolist()
        assert len(drawn) == len(set(drawn)) == min(negatives, len(found) - len(right))
        assert set(drawn) <= set(found) - right
        other = far[far >= 0].tolist()
        assert len(other) == len(set(other))
        assert set(other) <= set(range(n_items)) - set(found) - set(withheld[row].tolist())
        assert not groups.labels[row][groups.codes[row] < 0].any()
        assert not groups.labels[row, split:].any()


@settings(deadline=None, max_examples=30)
@given(requests(), st.integers(0, 3))
def test_the_same_seed_draws_the_same_groups(given_, seed):
    codes, labels, withheld, n_items = given_
    one, two = (
        sample_groups(
            codes,
            labels,
            withheld,
            candidate_negatives=2,
            uniform_negatives=3,
            n_items=n_items,
            rng=np.random.default_rng(seed),
        )
        for _ in range(2)
    )
    assert one.codes.tobytes() == two.codes.tobytes()
    assert one.labels.tobytes() == two.labels.tobytes()


def test_every_other_candidate_is_drawn_as_often_as_any_other():
    n = 6000
    codes = np.tile(np.array([7, 3, 5, 1, -1], dtype=np.int32), (n, 1))
    labels = np.tile(np.array([0, 1, 0, 0, 0], dtype=np.float32), (n, 1))
    groups = sample_groups(
        codes,
        labels,
        np.empty((n, 0), dtype=np.int32),
        candidate_negatives=1,
        uniform_negatives=0,
        n_items=9,
        rng=np.random.default_rng(0),
    )
    assert groups.codes.shape == (n, 2)
    assert (groups.codes[:, 0] == 3).all()
    counts = np.bincount(groups.codes[:, 1], minlength=9)
    # Binomial(6000, 1/3): five standard deviations are 183.
    assert counts[[1, 5, 7]] == pytest.approx(2000, abs=183)
    assert counts.sum() == counts[[1, 5, 7]].sum()


def test_uniform_draws_are_uniform_over_what_is_left():
    n = 8000
    codes = np.tile(np.array([[0, 1]], dtype=np.int32), (n, 1))
    groups = sample_groups(
        codes,
        np.tile(np.array([[1, 0]], dtype=np.float32), (n, 1)),
        np.tile(np.array([[0, 2, -1]], dtype=np.int32), (n, 1)),
        candidate_negatives=0,
        uniform_negatives=1,
        n_items=8,
        rng=np.random.default_rng(1),
    )
    counts = np.bincount(groups.codes[:, -1][groups.codes[:, -1] >= 0], minlength=8)
    # One draw of eight items each; three of them are taken. Binomial(8000, 1/8): five standard deviations are 148.
    assert counts[:3].tolist() == [0, 0, 0]
    assert counts[3:] == pytest.approx(1000, abs=148)


def test_items_of_one_request_are_no_business_of_the_next():
    """Padding of one row must not pass for the last item of the row before."""
    codes = np.array([[0], [-1]], dtype=np.int32)
    withheld = np.array([[-1], [0]], dtype=np.int32)
    groups = sample_groups(
        codes,
        np.array([[1], [0]], dtype=np.float32),
        withheld,
        candidate_negatives=0,
        uniform_negatives=60,
        n_items=3,
        rng=np.random.default_rng(0),
    )
    assert [set(row) for row in sets(groups.codes[:, 1:])] == [{1, 2}, {1, 2}]


def test_popular_items_are_drawn_by_their_count_to_a_power():
    n, counts = 20_000, np.array([0, 1, 4, 16, 64])
    groups = sample_groups(
        np.full((n, 1), -1, dtype=np.int32),
        np.zeros((n, 1), dtype=np.float32),
        np.empty((n, 0), dtype=np.int32),
        candidate_negatives=0,
        uniform_negatives=0,
        n_items=5,
        rng=np.random.default_rng(0),
        popularity_negatives=1,
        popularity=popularity_chances(counts, 0.5),
    )
    # Roots of the counts: 0, 1, 2, 4, 8 of 15. Five standard deviations of Binomial(20000, 8/15) are 353.
    found = np.bincount(groups.codes[:, -1], minlength=5)
    assert found == pytest.approx(n * np.array([0, 1, 2, 4, 8]) / 15, abs=353)
    assert groups.from_catalogue[:, -1].all()
    assert popularity_chances(counts[1:], 0) == pytest.approx(0.25)


def asked(n):
    """The same request n times: candidates 0 to 4, of which 1 is a positive; item 7 is withheld."""
    codes, labels = np.array([0, 1, 2, 3, 4, -1], dtype=np.int32), np.array([0, 1, 0, 0, 0, 0], dtype=np.float32)
    withheld = np.array([1, 7], dtype=np.int32)
    return (np.tile(values, (n, 1)) for values in (codes, labels, withheld))


COUNTS = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1])
DRAWS = {
    "candidate_negatives": 2,
    "uniform_negatives": 2,
    "n_items": 9,
    "popularity_negatives": 3,
    "popularity": popularity_chances(COUNTS, 1.0),
}


@pytest.mark.parametrize("ratio", [None, 3])
def test_an_item_is_there_as_often_as_its_chance_says(ratio):
    """So that weighing by the inverse gives the sum over all items: what corrected scores stand on."""
    n, rng = 20_000, np.random.default_rng(0)
    groups = sample_groups(*asked(n), **DRAWS, rng=rng)
    groups = groups if ratio is None else thinned(groups, ratio, rng)
    real = groups.codes >= 0
    seen = np.bincount(groups.codes[real], minlength=9)
    assert seen[[1, 7]].tolist() == [n, 0]
    # Every item but the positive and the withheld one: its occurrences, each weighing 1 / chance, are n.
    weighed = np.bincount(groups.codes[real], weights=1 / groups.chance[real], minlength=9)
    spread = np.sqrt(n / (seen[seen > 0].min() / n))
    assert weighed[[0, 2, 3, 4, 5, 6, 8]] == pytest.approx(n, abs=5 * spread)
    if ratio is None:
        # Two of four others; had the positive been none, two of five.
        assert set(groups.chance[(groups.codes == 2) & real].tolist()) == {0.5}
        assert set(groups.chance[groups.codes == 1].tolist()) == {np.float32(0.4)}


def test_a_stated_ratio_is_that_of_every_group():
    rng = np.random.default_rng(0)
    groups = thinned(sample_groups(*asked(500), **DRAWS, rng=rng), 1.6, rng)
    assert groups.codes.shape == (500, 3)
    assert (groups.codes[:, 0] == 1).all()
    assert (groups.labels == [1, 0, 0]).all()
    assert (groups.codes[:, 1:] >= 0).all()
    assert (groups.from_catalogue == np.isin(groups.codes, [5, 6, 8])).all()
    wide = thinned(groups, 50, rng)
    assert [set(row) for row in wide.codes.tolist()] == [set(row) for row in groups.codes.tolist()]
