"""Pure values and folds: events, time, customer state, features, observations, tiers and reasons."""
