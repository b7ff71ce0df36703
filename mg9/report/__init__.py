"""The report that Unit 8 asks for: seven points, filled in for any model with fit and predict (slide 47).

    from mg9 import b_ladder, data, splits
    from mg9.d_cgcnn import CGCNN
    from mg9.report import Report, network

    ds = data.formation_energy()
    split = splits.family_split(ds.table.formula, hold_out="halide")
    study = Report(ds, "formation_energy_per_atom", split, claim="new chemistry")
    study.ladder(b_ladder.ladder() | {"CGCNN": network(CGCNN, epochs=40)})    # the last one is the headline
    study.residuals()
    study.ablations()
    study.audit(post_relaxation="CGCNN reads positions and cells that DFT relaxed")
    study.learning_curve()
    study.document(selection="all settings were the defaults; the epoch was chosen on the validation part")
    print(study)
    study.plot()

Each call returns its table and fills in a point; `print` says what is missing and why it matters. A model
reads Magpie features unless `Reading(model, inputs)` gives it another function of the structures. What it
costs: the ladder trains each model twice (this split, a random one), the ablations the headline three times,
the learning curve about twice.

Read in order: `checklist.py` (the points), `models.py` (what a model is), `study.py` (`Report`), then what it
calls: `statistics.py`, `ablation.py`, `curve.py`, `audit.py`, `points.py`, `methods.py`; `turns.py` tests one
model on several splits.
"""

from mg9.report.audit import Leak, fitted_on
from mg9.report.checklist import POINTS, Point
from mg9.report.curve import Curve
from mg9.report.models import Reading, crystal_graphs, magpie_features, network
from mg9.report.statistics import bootstrap
from mg9.report.study import Report
from mg9.report.turns import in_turn

__all__ = [
    "POINTS",
    "Curve",
    "Leak",
    "Point",
    "Reading",
    "Report",
    "bootstrap",
    "crystal_graphs",
    "fitted_on",
    "in_turn",
    "magpie_features",
    "network",
]
