"""Matrix factorisation by Bayesian personalised ranking (Rendle 2009), with fold-in of unseen users."""

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.factors import BPRConfig
from recsys.recall.vectors import served
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import FoldInEncoder, whitened

__all__ = ["fit"]


def fit(config: BPRConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Maximises Σ ln σ(x_u·y_i − x_u·y_j) over items i the user has and items j drawn from all events.

    The last of the `embedding_dim` numbers of an item is its bias. A request's factor is folded in from its history by
    one step of least squares against the item factors, which stay as they are, so that known and unknown users are
    answered alike. Takes memory for (U + N) · D numbers, and each epoch time in E · D. Reproducible with one thread;
    with more, threads write without locks.
    """
    model = BayesianPersonalizedRanking(
        factors=config.embedding_dim - 1,
        learning_rate=config.learning_rate,
        regularization=config.regularisation,
        iterations=config.epochs,
        num_threads=config.threads,
        random_state=context.seed,
    )
    with threadpool_limits(1, "blas"):
        model.fit(sparse.csr_matrix(data.seen(), dtype=np.float32), show_progress=False)
    vectors = whitened(model.item_factors, 1.0)
    encoder = FoldInEncoder(
        vectors,
        alpha=np.full(len(vectors), config.fold_in_alpha, dtype=np.float32),
        decay=config.query_decay,
        history=config.history,
    )
    return served(vectors, encoder, config.index, data, context)
