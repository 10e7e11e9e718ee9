"""What goes wrong with weights."""


class WeightsError(ValueError):
    """Weights that cannot be found, read or put where they were asked for; says why, and the way out."""
