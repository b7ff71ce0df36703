"""The MLP of slide 07, on Magpie features or any other matrix.

    y = W_3 silu(W_2 silu(W_1 x + b_1) + b_2) + b_3

Two hidden layers between the standardised features and the standardised target, trained on the mean absolute
error. `b_ladder.mlp` puts the features and their standardisation in front of it.

Read in order: `two_hidden_layers`, `MLP`.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y
from torch import nn
from tqdm.auto import tqdm


def two_hidden_layers(inputs: int, hidden: int) -> nn.Sequential:
    """The network (B, inputs) to (B, 1) (slide 07)."""
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.SiLU()),
        *(nn.Linear(hidden, hidden), nn.SiLU()),
        nn.Linear(hidden, 1),
    )


class MLP(RegressorMixin, BaseEstimator):
    """Two hidden layers with scikit-learn's fit and predict (slide 07).

    fit: x (n, inputs) standardised, y (n,) in any unit; predict: (m, inputs) to (m,) in y's unit. The number
    of epochs is fixed, so that nothing is chosen on rows outside the training part.
    Errors: ValueError for NaN, infinite or differently many x and y; NotFittedError before `fit`.
    """

    def __init__(
        self,
        *,
        hidden: int = 256,
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed

    def fit(self, x: np.ndarray, y: np.ndarray) -> MLP:
        x, y = check_X_y(x, y, dtype=np.float32, y_numeric=True)
        self.mean_, self.scale_ = float(np.mean(y)), float(np.std(y)) or 1.0
        target = torch.tensor((y - self.mean_) / self.scale_, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
            torch.manual_seed(self.seed)
            self.network_ = two_hidden_layers(x.shape[1], self.hidden)
            self._train(torch.from_numpy(x), target)
        self.network_.double().eval()  # so that equal rows get equal predictions, to 15 digits
        return self

    def _train(self, x: torch.Tensor, target: torch.Tensor) -> None:
        """AdamW with a one-cycle learning rate."""
        optimizer = torch.optim.AdamW(self.network_.parameters(), lr=self.learning_rate, weight_decay=1e-2)
        steps = self.epochs * -(-len(x) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, steps, pct_start=0.2)
        for _ in tqdm(range(self.epochs), desc="training the MLP", unit="epoch", delay=3, leave=False):
            for batch in torch.randperm(len(x)).split(self.batch_size):
                loss = nn.functional.l1_loss(self.network_(x[batch]).squeeze(1), target[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    def predict(self, x: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        with torch.no_grad():
            standardised = self.network_(torch.from_numpy(check_array(x, dtype=float))).squeeze(1)  # (m,)
        return standardised.numpy() * self.scale_ + self.mean_
