"""A recurrent network through deep-river and PyTorch on the CPU; needs the extra `deep`.

A customer's features hold activity over windows that reach less and less far back. Read from the longest window to the
shortest they are a short sequence, the customer's own: orders, clicks and sessions step by step, the other inputs
beside each step. An LSTM reads it, and a linear layer turns its last state into two logits.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from stream_app.learning.zoo.chunks import Chunk, Waiting
from stream_app.learning.zoo.rows import RowModel
from stream_app.learning.zoo.scaling import Repeats
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of

try:
    import pandas as pd
    import torch
    from deep_river.classification import Classifier
except ImportError as _missing:
    raise ModuleNotFoundError(
        "the model 'lstm' needs deep-river and PyTorch: install the extra, `pip install 'stream-app[deep]'` "
        "(Python 3.11 or 3.12)"
    ) from _missing

STEPS = (
    ("c90", "", ""),
    ("c30", "clicks_30", "sessions_30"),
    ("c14", "", "sessions_7"),
)
"""Orders, clicks and sessions, from the longest window to the shortest; empty: not measured over that window."""
CHUNK_ROWS = 16


class Recurrent(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """An LSTM over `STEPS` with all inputs beside each step.

    Parameters
    ----------
    columns
        For each step, the columns of its channels; -1: none.
    width
        Number of inputs.
    units
        Size of the state.
    """

    def __init__(self, columns: list[list[int]], width: int, units: int) -> None:
        super().__init__()
        self.columns = columns
        self.width = width
        self.recurrence = torch.nn.LSTM(width + len(columns[0]), units, batch_first=True)
        self.output = torch.nn.Linear(units, 2)

    def forward(self, rows: Any) -> Any:
        """Return two logits a row."""
        rows = rows[:, : self.width]  # deep-river widens them to what the first layer takes
        padded = torch.cat((rows, torch.zeros(len(rows), 1)), dim=1)
        steps = [torch.cat((rows, padded[:, columns]), dim=1) for columns in self.columns]
        states, _ = self.recurrence(torch.stack(steps, dim=1))
        return self.output(states[:, -1])


class LongShortTerm(RowModel):
    """Learns in chunks of 16 rows by Adam, once each: there are no epochs that one could stop early."""

    def __init__(self, name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> None:
        super().__init__(name, inputs)
        torch.set_num_threads(1)  # sums in several threads differ in their last bits
        torch.manual_seed(int(options["seed"]))
        names = self.inputs.names
        columns = [[names.index(one) if one in names else -1 for one in step] for step in STEPS]
        self._columns = [f"x{number:03}" for number in range(len(names))]  # deep-river sorts them by name
        self.classifier = Classifier(
            Recurrent(columns, len(names), int(options["units"])),
            loss_fn="cross_entropy",
            optimizer_fn=partial(torch.optim.Adam, weight_decay=options["l2"]),
            lr=options["rate"],
            output_is_logit=True,
            is_class_incremental=False,
            is_feature_incremental=False,
            seed=int(options["seed"]),
        )
        self.classifier.observed_features.update(self._columns)
        self.classifier.observed_classes.update((False, True))
        self._repeats = Repeats()
        self._waiting = Waiting(len(names), CHUNK_ROWS)

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        for _ in range(self._repeats.of(importance)):
            chunk = self._waiting.add(row, label, 1.0)
            if chunk is not None:
                self._learn_chunk(chunk)

    def _learn_chunk(self, chunk: Chunk) -> None:
        self.classifier.learn_many(self._frame(chunk.rows), pd.Series(chunk.churned.tolist(), dtype=object))

    def _probabilities(self, block: Vector) -> Vector:
        if not len(block):
            return np.zeros(0)
        return np.asarray(self.classifier.predict_proba_many(self._frame(block))[True], dtype=np.float64)

    def _frame(self, block: Vector) -> Any:
        return pd.DataFrame(block.astype(np.float32), columns=self._columns)

    def _dump(self) -> ModelState:
        state: ModelState = {"carried": [self._repeats.carried], "waiting": self._waiting.dump()}
        for name, weights in self.classifier.module.state_dict().items():
            state[f"module/{name}"] = weights.ravel().tolist()
        for number, moments in self.classifier.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                state[f"optimizer/{number}/{name}"] = value.ravel().tolist()
        return state

    def _load(self, state: ModelState) -> None:
        [self._repeats.carried] = numbers_of(state, "carried")
        self._waiting.load(numbers_of(state, "waiting"))
        module, optimizer = self.classifier.module, self.classifier.optimizer
        shapes = {name: weights.shape for name, weights in module.state_dict().items()}
        module.load_state_dict({name: _tensor(state, f"module/{name}", shape) for name, shape in shapes.items()})
        saved = optimizer.state_dict()
        for number, weights in enumerate(module.parameters()):
            prefix = f"optimizer/{number}/"
            names = [key.removeprefix(prefix) for key in state if key.startswith(prefix)]
            if names:
                saved["state"][number] = {
                    name: _tensor(state, prefix + name, () if name == "step" else weights.shape) for name in names
                }
        optimizer.load_state_dict(saved)


def _tensor(state: ModelState, key: str, shape: tuple[int, ...]) -> Any:
    return torch.tensor(numbers_of(state, key), dtype=torch.float32).reshape(shape)


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> LongShortTerm:
    """Return the recurrent network."""
    return LongShortTerm(name, inputs, options)
