"""Matrix factorisation by alternating least squares (Hu 2008), with fold-in of unseen users."""

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys.features.batch import Floats
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import inverse_power
from recsys.recall.settings.factors import ALSConfig
from recsys.recall.vectors import served
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import FoldInEncoder, whitened

__all__ = ["as_candidates", "factorise", "fit"]


def fit(config: ALSConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Minimises Σ c_ui (p_ui − x_u·y_i)² + regularisation · (Σ‖x_u‖² + Σ‖y_i‖²) by conjugate gradients.

    The confidence c_ui is 1, and more where the user has the item: by alpha / (items_u^user_penalty ·
    count_i^popularity_penalty), scaled so that its mean over the events is alpha. A request's factor is the one its
    history would get in the next step, so that known and unknown users are answered alike. Takes memory for (U + N) · D
    numbers, and each epoch time in E · D + (U + N) · D².
    """
    factors, alpha = factorise(config, data, context.seed)
    factors = whitened(factors, config.regularisation)
    candidates = as_candidates(config, data, factors)
    encoder = FoldInEncoder(
        factors,
        alpha=alpha,
        user_penalty=config.user_penalty,
        decay=config.query_decay,
        history=config.history,
    )
    return served(candidates, encoder, config.index, data, context)


def factorise(config: ALSConfig, data: TrainingData, seed: int) -> tuple[Floats, Floats]:
    """`(N, D)` item factors, and `(N,)` what an event of each item adds to the confidence, for a user with one item."""
    seen = data.seen()
    by_item = inverse_power(data.counts, config.popularity_penalty)
    by_user = inverse_power(np.diff(seen.indptr), config.user_penalty)
    weights = sparse.csr_array(sparse.diags_array(by_user) @ seen @ sparse.diags_array(by_item))
    scale = config.alpha / weights.data.mean()
    # The library reads a value as the whole confidence, of which 1 is everybody's.
    weights.data = weights.data * scale + 1.0
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=config.embedding_dim,
            regularization=config.regularisation,
            alpha=1.0,
            iterations=config.epochs,
            num_threads=config.threads,
            random_state=seed,
        )
        model.fit(sparse.csr_matrix(weights, dtype=np.float32), show_progress=False)
    return np.ascontiguousarray(model.item_factors, dtype=np.float32), (by_item * scale).astype(np.float32)


def as_candidates(config: ALSConfig, data: TrainingData, factors: Floats) -> Floats:
    """`(N, D)` item factors as they are searched: their scores are raised by what the item's count has to say."""
    if not config.popularity_boost:
        return factors
    raised: Floats = (factors * inverse_power(data.counts, -config.popularity_boost)[:, None]).astype(np.float32)
    return raised
