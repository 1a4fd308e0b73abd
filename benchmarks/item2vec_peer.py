"""gensim on the sessions of a folder: python item2vec_peer.py FOLDER OPTIONS-AS-JSON; needs gensim alone.

Reads `tokens.npy` and `offsets.npy`, prints words a second, writes `vectors.npy`, a row an item.
"""

import json
import sys
import time
from itertools import pairwise

import numpy as np
from gensim.models import Word2Vec


def main(folder: str, options: dict[str, int | float]) -> None:
    tokens, offsets = np.load(f"{folder}/tokens.npy"), np.load(f"{folder}/offsets.npy")
    words = tokens.astype(str).tolist()
    corpus = [words[begin:end] for begin, end in pairwise(offsets)]
    model = Word2Vec(**options)
    model.build_vocab(corpus)
    began = time.perf_counter()
    model.train(corpus, total_examples=len(corpus), epochs=options["epochs"])
    seconds = time.perf_counter() - began
    vectors = np.zeros((tokens.max() + 1, model.vector_size), dtype=np.float32)
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.vectors
    np.save(f"{folder}/vectors.npy", vectors)
    print(json.dumps({"words_per_s": options["epochs"] * len(tokens) / seconds}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
