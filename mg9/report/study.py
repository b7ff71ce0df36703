"""`Report`: one question (data, target, split, claim), the models that answer it, and how far to believe them
(slide 47)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from mg9.b_symmetry import stretch
from mg9.groups import prototypes, reduced_formulas
from mg9.report.ablation import ablated, retrained
from mg9.report.audit import Leak, audited
from mg9.report.checklist import Point, verdict
from mg9.report.curve import Curve, measured
from mg9.report.methods import sentences
from mg9.report.models import Reading, fitted, predicted, targets
from mg9.report.points import points
from mg9.report.statistics import bootstrap, by_region, frame
from mg9.splits import Split, random_split

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from mg9.data import Dataset

ENOUGH = 30  # crystals that two splits must both test before their errors are compared


class Report:
    """The seven points of a trustworthy report, each filled in by a method (slides 47, 50).

    target: a column of `dataset.table`; claim: what you want to say, in words of `split.claim`, such as "new
    chemistry". Call `ladder` first. Errors: ValueError for a column that is not there, a split of
    another table, and a target that is not finite.
    """

    def __init__(
        self, dataset: Dataset, target: str, split: Split, *, claim: str = "", seed: int = 0
    ) -> None:
        self.dataset, self.target, self.split, self.claim, self.seed = dataset, target, split, claim, seed
        self.values = targets(dataset, target, split)
        self.unit = dataset.units.get(target, "")
        self.formulas = [str(formula) for formula in dataset.table["formula"]]
        self.structures = dataset.structures(dataset.table.index)
        self.groups = reduced_formulas(self.formulas)  # what the bootstrap keeps together
        self.models: dict[str, Reading] = {}
        self.fits: dict[str, Any] = {}
        self.aware: list[str] = []  # models whose prediction depends on the positions,
        self.geometric: list[str] = []  # on these or on the size of the cell
        self.headline, self.methods = "", ""
        self.scores: DataFrame | None = None
        self.regions: DataFrame | None = None
        self.ablated: dict[str, DataFrame] = {}
        self.leaks: list[Leak] | None = None
        self.audited: list[str] = []
        self.curve: Curve | None = None
        self._inputs: dict[Any, Sequence] = {}

    def ladder(self, models: Mapping[str, Any], *, headline: str = "") -> DataFrame:
        """Fit every model on the training part, and on that of a random split of equal sizes; points 2 and 6.

        models: name -> an unfitted model that reads Magpie features, or a `Reading`; a constant predictor is
        added where there is none. headline: the model that the report is about, by default the last. What
        was found about an earlier ladder is forgotten.
        Columns in the target's unit: mae, low, high (95 % interval) on the test part; random, the MAE on the
        random split; relatives, that on those of its test crystals that are in this test part too: what they
        cost when their relatives are in training (NaN for fewer than 30).
        """
        from sklearn.dummy import DummyRegressor

        if "constant" not in models:
            models = {"constant": DummyRegressor()} | dict(models)
        self.models = {n: m if isinstance(m, Reading) else Reading(m) for n, m in models.items()}
        self.headline = headline or list(self.models)[-1]
        if self.headline not in self.models:
            raise ValueError(
                f"no model {self.headline!r} in the ladder: choose one of {', '.join(self.models)}"
            )
        self.regions, self.leaks, self.curve, self.ablated, self.methods = None, None, None, {}, ""
        n, test = len(self.values), self.split.test
        easy = random_split(n, validation=len(self.split.validation) / n, test=len(test) / n, seed=self.seed)
        relatives = np.isin(easy.test, test)
        rows, self.aware, self.geometric = {}, [], []
        bar = tqdm(self.models.items(), desc="ladder", unit="model", delay=2, leave=False)
        for name, reading in bar:
            bar.set_postfix_str(name, refresh=False)
            inputs = self.read(reading)
            self.fits[name] = fitted(reading.model, inputs, self.values, self.split)
            error = np.abs(self.residual(name))
            model = fitted(reading.model, inputs, self.values, easy)
            easily = np.abs(predicted(model, inputs, easy.test) - self.values[easy.test])
            alike = easily[relatives].mean() if relatives.sum() >= ENOUGH else np.nan
            rows[name] = (error.mean(), *bootstrap(error, self.groups[test]), easily.mean(), alike)
            self._look_at_geometry(name)
        self.scores = frame(rows, ["mae", "low", "high", "random", "relatives"])
        return self.scores

    def residual(self, name: str = "") -> np.ndarray:
        """Prediction - target on the test part (len(split.test),), by default the headline's."""
        name = name or self._headline()
        prediction = predicted(self.fits[name], self.read(self.models[name]), self.split.test)
        return prediction - self.values[self.split.test]

    def residuals(self) -> DataFrame:
        """The headline's error by family, element, prototype and space group, with intervals; point 3.

        Columns: see `mg9.report.statistics.by_region`.
        """
        test, residual = self.split.test, self.residual()
        types = prototypes([self.structures[row] for row in test])
        formulas = [self.formulas[row] for row in test]
        self.regions = by_region(residual, formulas, types, self.groups[test])
        return self.regions

    def ablations(self, name: str = "") -> DataFrame:
        """Retrain and test a model, by default the headline, on crystals with shuffled positions, exchanged
        elements (see `mg9.report.ablation`), and both; point 4. Columns mae, low, high, and the error over
        that of the intact crystals: ratio, ratio_low, ratio_high, crystal by crystal in the bootstrap."""
        name = name or self._headline()
        self.ablated[name] = retrained(self, name)
        return self.ablated[name]

    def audit(self, *, post_relaxation: str = "") -> list[Leak]:
        """The leakage paths that are open, and point 5.

        post_relaxation: which inputs exist only after the calculation that gives the target; a relaxed
        position is one, so a model that reads positions has to declare it.
        """
        self.leaks, self.audited = audited(self, post_relaxation)
        return self.leaks

    def learning_curve(self, fractions: Sequence[float] = (0.125, 0.25, 0.5, 1.0)) -> Curve:
        """The headline trained on nested parts of the training part, and what limits it (slide 34): data,
        model or representation, by the rule of `mg9.report.curve.limited_by`. The last two fractions are a
        half and all."""
        self.curve = measured(self, self._headline(), fractions)
        return self.curve

    def document(self, *, selection: str) -> str:
        """Sentences that could stand in a methods section; point 7.

        selection: how settings were chosen, and on which part. Run `audit` first, so that they say what was
        done about duplicates.
        """
        audited = " ".join(self.audited) or "Duplicates have not been looked for"
        self.methods = sentences(self.dataset, self.target, self.split, selection=selection, audited=audited)
        return self.methods

    @property
    def points(self) -> list[Point]:
        """The seven points, done, failed or missing."""
        return points(self)

    def __str__(self) -> str:
        head = f"{self.dataset.name}: {self.target} of {len(self.values):,} crystals"
        curve = f"\nLearning curve: {self.curve.limited_by}; {self.curve.because}" if self.curve else ""
        return "\n".join([head, *map(str, self.points), verdict(self.points)]) + curve

    def plot(self) -> Figure:
        """A figure with a panel for each table that is there."""
        from mg9 import plots

        return plots.report(self)

    def _headline(self) -> str:
        if not self.headline:
            raise ValueError("there is no model yet: call report.ladder({name: model, ...}) first")
        return self.headline

    def read(self, reading: Reading) -> Sequence:
        """What a model reads of the intact crystals, computed once."""
        if reading.inputs not in self._inputs:
            inputs = reading.inputs(self.structures)
            if len(inputs) != len(self.values):
                raise ValueError(
                    f"{len(inputs)} inputs for {len(self.values)} structures; return one for each"
                )
            self._inputs[reading.inputs] = inputs
        return self._inputs[reading.inputs]

    def _look_at_geometry(self, name: str) -> None:
        """Does a prediction change when atoms move, or when the cell is stretched?"""
        rows = self.split.test[:ENOUGH]
        crystals = [self.structures[row] for row in rows]
        before = predicted(self.fits[name], self.read(self.models[name]), rows)

        def changes(other: Sequence) -> bool:
            after = predicted(self.fits[name], self.models[name].inputs(other), np.arange(len(other)))
            return bool(np.abs(after - before).max() > 1e-4 * (self.values[rows].std() + 1e-12))

        if changes(ablated(crystals, "positions shuffled", seed=self.seed)):
            self.aware.append(name)
        if name in self.aware or changes([stretch(crystal, 1.05) for crystal in crystals]):
            self.geometric.append(name)
