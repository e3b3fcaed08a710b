"""What to do about a score, and why not: catalogue, guardrails, arms, policy; no I/O and no clock."""
