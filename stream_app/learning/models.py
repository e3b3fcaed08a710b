"""Old names of what lives in `stream_app.learning.zoo` now."""

from stream_app.learning.zoo.kalman import KalmanModel
from stream_app.learning.zoo.registry import ADAGRAD, KALMAN, KALMAN_ORDERS, create
from stream_app.learning.zoo.types import LearnedWeights, OnlineModel

__all__ = [
    "ADAGRAD",
    "KALMAN",
    "KALMAN_ORDERS",
    "MODEL_NAMES",
    "KalmanModel",
    "LearnedWeights",
    "OnlineModel",
    "new_model",
]

MODEL_NAMES = (KALMAN, KALMAN_ORDERS, ADAGRAD)
new_model = create
