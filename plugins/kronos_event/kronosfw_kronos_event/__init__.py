"""Kronos for kronosfw: tokenizer, model, sampler, training, and the plugin that offers them.

``kronos`` and ``pretrain`` need no more than torch, numpy and safetensors (huggingface_hub for weights on the hub,
accelerate to train); only ``plugin``, ``forecaster`` and ``trainer`` know kronosfw.
"""
