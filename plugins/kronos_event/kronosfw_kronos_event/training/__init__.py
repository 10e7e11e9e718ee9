"""Training tokenizer and model from scratch; needs torch, numpy, safetensors and accelerate."""
