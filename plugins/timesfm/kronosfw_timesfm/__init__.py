"""TimesFM for kronosfw: Google's decoder-only model of time series (Das et al., arXiv 2310.10688), 2.5 and 3.0."""
