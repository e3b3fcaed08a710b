"""Risk tiers from a probability, with hysteresis so that noise does not make a customer flicker between two."""

from collections.abc import Sequence

from stream_app.core.outputs import TIERS, Tier

_LOSS_MARGIN = 0.05


def tier_index(probability: float, thresholds: Sequence[float], previous: int = -1, margin: float = 0.0) -> int:
    """Return the index in `TIERS` of a probability.

    Upwards a threshold counts as soon as it is reached; a tier is left downwards only when the probability has fallen
    below its threshold by more than `margin`. `previous` -1 means that there was none.
    """
    plain = held = 0
    for threshold in thresholds:
        plain += probability >= threshold
        held += probability >= threshold - margin
    return plain if previous <= plain else min(previous, held)


def tier_within_loss(tier: int, loss: float, thresholds: Sequence[float], previous: int = -1) -> int:
    """Return the tier that a customer reaches by probability and by expected loss: the lower of the two.

    Parameters
    ----------
    tier
        By probability.
    loss
        Probability times value at stake, shop currency.
    thresholds
        Least loss of the tiers above the lowest; 0 asks for none.
    previous
        The tier so far: it is left downwards only when the loss has fallen a twentieth below its threshold.
    """
    held = min(previous, tier_index(loss * (1 + _LOSS_MARGIN), thresholds))
    return min(tier, max(tier_index(loss, thresholds), held))


def tier_name(index: int) -> Tier:
    """Return the name of a tier by its index, 0 for low."""
    return TIERS[index]
