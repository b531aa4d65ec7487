"""One experiment for every method: the same SFT model, data, order, batches and steps; only the loss differs.

``guardalign comparison params/comparison.yaml`` runs it; what is done already is not done again.
"""
