import numpy as np

from recsys.training.batches import Samples, joined


def samples(requests, width, first):
    codes = np.arange(first, first + requests * width).reshape(requests, width)
    inputs = {
        "user.age": np.arange(requests, dtype=np.float32) + first,
        "item.genres": np.stack([codes, codes + 1], axis=2),
        "route.cf.score": codes.astype(np.float32),
    }
    return Samples(inputs, (codes % 2).astype(np.float32), np.ones((requests, width), dtype=bool), 4)


def test_groups_of_both_stand_one_after_the_other_and_the_narrower_are_padded():
    both = joined(samples(2, 3, 10), samples(3, 2, 50))
    assert both.inputs["user.age"].tolist() == [10, 11, 50, 51, 52]
    assert both.inputs["item.genres"].shape == (5, 3, 2)
    assert both.inputs["route.cf.score"].tolist() == [[10, 11, 12], [13, 14, 15], [50, 51, 0], [52, 53, 0], [54, 55, 0]]
    assert both.mask.tolist() == [[True] * 3] * 2 + [[True, True, False]] * 3
    assert both.labels[both.mask].sum() == 3 + 3
    assert both.batch_size == 4
