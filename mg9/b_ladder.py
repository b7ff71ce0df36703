"""The baseline ladder: what a network has to beat (slides 07, 45, 47, 50).

Each rung is a scikit-learn pipeline with fit(x, y) and predict(x), where x is a list of formulas, or their
Magpie features (n, 132). All that is fitted, imputation and standardisation included, is fitted in `fit`: on
the training part only. None of them sees the structure.

Read in order: `constant`, `ridge`, `boosted_trees`, `random_forest`, `mlp`; then `ladder`, all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mg9.b_magpie import features

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline


def constant() -> Pipeline:
    """Rung 0, the mean of the training targets: what knowing nothing costs (slide 47)."""
    from sklearn.dummy import DummyRegressor

    return _on_magpie(DummyRegressor())


def ridge() -> Pipeline:
    """A linear model, its penalty chosen by leave-one-out inside the training part (slide 45)."""
    from sklearn.linear_model import RidgeCV

    return _on_magpie(*_standardised(), RidgeCV(alphas=np.logspace(-3, 3, 13)))


def boosted_trees(*, seed: int = 0) -> Pipeline:
    """Gradient-boosted trees; a value that is not known is a branch of its own (slide 47)."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        max_iter=1000, learning_rate=0.05, max_features=0.2, early_stopping=False, random_state=seed
    )
    return _on_magpie(trees)


def random_forest(*, trees: int = 200, seed: int = 0) -> Pipeline:
    """Trees on resampled rows and a third of the features at each branch, averaged (slide 45)."""
    from sklearn.ensemble import RandomForestRegressor

    return _on_magpie(RandomForestRegressor(trees, max_features=1 / 3, random_state=seed))


def mlp(*, epochs: int = 100, seed: int = 0) -> Pipeline:
    """Two hidden layers, `mg9.b_mlp.MLP`, on standardised features (slides 07, 50)."""
    from mg9.b_mlp import MLP

    return _on_magpie(*_standardised(), MLP(epochs=epochs, seed=seed))


def ladder(*, seed: int = 0) -> dict[str, Pipeline]:
    """All rungs by name, not yet fitted, from the lowest (slides 47, 50)."""
    return {
        "constant": constant(),
        "Magpie + ridge": ridge(),
        "Magpie + boosted trees": boosted_trees(seed=seed),
        "Magpie + random forest": random_forest(seed=seed),
        "Magpie + MLP": mlp(seed=seed),
    }


def _on_magpie(*steps: BaseEstimator) -> Pipeline:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(features), *steps)


def _standardised() -> tuple[BaseEstimator, BaseEstimator]:
    """Unknown values become the training mean, then mean 0 and variance 1."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    return SimpleImputer(keep_empty_features=True), StandardScaler()
