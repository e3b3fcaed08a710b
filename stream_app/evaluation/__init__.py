"""How well churn is predicted: the product's own engine and learner over files, against baselines, in a single pass."""
