"""Folds of one event into one sub-state; none looks at another sub-state, so topics may interleave in any way."""
