"""Figures as JSON can hold them."""

import math
from typing import Any


def json_ready(value: Any) -> Any:
    """Return the value with NaN and infinities as null: JSON has neither."""
    if isinstance(value, dict):
        return {key: json_ready(part) for key, part in value.items()}
    if isinstance(value, list):
        return [json_ready(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
