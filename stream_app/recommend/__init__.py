"""Product picks for an intervention; no I/O."""
