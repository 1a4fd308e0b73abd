"""AutoInt against its equations."""

import numpy as np
import pytest
from scipy.special import softmax

from recsys.ranking.configs import AutoIntConfig

CONFIG = AutoIntConfig(kind="autoint", embedding_dim=3, attention_layers=2, heads=2, head_dim=4, hidden=())


def attended(found, of):
    """Every input's vector after all layers, one head, one input at a time."""
    x = found.fields
    for layer in found.model.layers:
        query, key, value, residual = np.split(of(layer.project.weight), 4)
        heads = []
        for head in range(2):
            rows = slice(4 * head, 4 * head + 4)
            outputs = []
            for m in range(x.shape[2]):
                logits = np.stack(
                    [((x[:, :, m] @ query[rows].T) * (x[:, :, k] @ key[rows].T)).sum(-1) for k in range(x.shape[2])]
                )
                weights = softmax(logits, axis=0)
                outputs.append(sum(w[..., None] * (x[:, :, k] @ value[rows].T) for k, w in enumerate(weights)))
            heads.append(np.stack(outputs, axis=2))
        x = np.maximum(np.concatenate(heads, axis=-1) + x @ residual.T, 0)
    return x.reshape(3, 4, -1)


@pytest.mark.parametrize(("layers", "names"), [(2, ()), (2, ("item.item_id", "item.year")), (1, ()), (3, ())])
def test_equals_equations_5_to_10(drawn, of, layers, names):
    found = drawn(CONFIG.model_copy(update={"attention_layers": layers}), *names)
    assert len(found.model.layers) == layers
    expected = of(found.model.bias) + attended(found, of) @ of(found.model.out)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-3)


def test_hidden_layers_make_a_network_beside_it(drawn, of, plain):
    found = drawn(CONFIG.model_copy(update={"hidden": (5, 4)}))
    deep = plain(found.model.deep, found.fields.reshape(3, 4, -1))[..., 0]
    expected = of(found.model.bias) + attended(found, of) @ of(found.model.out) + deep
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-3)
