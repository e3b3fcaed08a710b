"""Online models, prequential evaluation and model snapshots; no I/O and no clock."""
