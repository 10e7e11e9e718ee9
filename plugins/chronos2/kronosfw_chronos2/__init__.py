"""Chronos-2 for kronosfw: the forecaster ``chronos2`` and the trainer ``chronos2_lora``."""
