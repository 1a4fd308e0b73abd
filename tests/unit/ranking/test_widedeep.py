"""Wide & Deep against its equation."""

import itertools

import numpy as np
import torch

from recsys.ranking.configs import WideDeepConfig

CONFIG = WideDeepConfig(kind="widedeep", embedding_dim=3, hidden=(5, 4))
CROSSES = (("user.group", "item.genres"), ("user.tags", "user.group"))


def test_without_crosses_it_is_linear_beside_a_network(drawn, plain):
    found = drawn(CONFIG)
    expected = found.linear + plain(found.model.deep, found.flat)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_a_cross_adds_the_mean_weight_of_its_combinations(drawn, plain, of):
    found = drawn(CONFIG.model_copy(update={"crosses": CROSSES}))
    model = found.model
    with torch.no_grad():
        model.cross_weights.weight[0] = 0.0
    table = of(model.cross_weights.weight)[:, 0]
    group, tags, genres = (found.inputs[name].numpy() for name in ("user.group", "user.tags", "item.genres"))
    of_genres, of_tags = table[: 1 + 7 * 6], np.append(0, table[1 + 7 * 6 :])  # rows without padding: 7, 6 and 5
    wide = found.linear
    for b, c in itertools.product(range(3), range(4)):
        one = [of_genres[1 + (group[b] - 1) * 6 + g - 1] for g in genres[b, c] if g and group[b]]
        two = [of_tags[1 + (t - 1) * 7 + group[b] - 1] for t in tags[b] if t and group[b]]
        wide[b, c] += sum(np.mean(weights) for weights in (one, two) if weights)
    np.testing.assert_allclose(found.logits, wide + plain(model.deep, found.flat)[..., 0], rtol=1e-4, atol=1e-4)
