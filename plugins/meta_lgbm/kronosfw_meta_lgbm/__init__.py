"""Ensembles that learn with LightGBM, from scored predictions, when to trust which member."""
