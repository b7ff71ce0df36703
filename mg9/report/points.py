"""What a report has for each of the seven points (slide 47)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mg9.groups import LEAST
from mg9.report.checklist import POINTS, Point

if TYPE_CHECKING:
    from mg9.report.study import Report

CLEARLY = 1.1  # another seed changes a network's error by some 5 %
Found = tuple[bool | None, str]  # done, and what was seen
MISSING = (None, "")


def points(report: Report) -> list[Point]:
    """The seven points of `report`, each done, failed (False) or missing (None) (slide 47)."""
    judges = (_claim, _baselines, _residuals, _ablations, _audit, _interval, _documented)
    return [
        Point(number, *text, *judge(report))
        for number, (text, judge) in enumerate(zip(POINTS, judges, strict=True), start=1)
    ]


def _claim(report: Report) -> Found:
    supported = report.split.claim
    if not report.claim:
        return None, f"The split supports {supported!r}"
    if len(report.claim.split()) < 2 or not supported.lower().startswith(report.claim.lower()):
        return False, f"you claim {report.claim!r}, the split supports {supported!r}: change one of them"
    found = f"{report.split}"
    if report.split.groups is None and not report.split.polymorphs:
        found += "; the split does not say which groups it keeps together, so the claim is taken on trust"
    if report.scores is not None:
        row = report.scores.loc[report.headline]
        found += (
            f". {report.headline}: MAE {row.mae:.3f} here, {row.random:.3f} {report.unit} on a random split"
        )
        if row.relatives == row.relatives:
            found += f", where the crystals of this test part get {row.relatives:.3f}"
    return True, found


def _baselines(report: Report) -> Found:
    if report.scores is None:
        return MISSING
    kinds = {_kind(report.models[name].model) for name in report.models if name not in report.geometric}
    lacking = [kind for kind in ("constant", "linear", "boosted trees") if kind not in kinds]
    if lacking:
        return None, f"There is no {' and no '.join(lacking)} among {', '.join(report.models)}"
    scores = ", ".join(f"{name} {mae:.3f}" for name, mae in report.scores.mae.items())
    return True, f"MAE in {report.unit}: {scores}"


def _residuals(report: Report) -> Found:
    if report.regions is None:
        return MISSING
    worst = report.regions[report.regions.region != "other"].groupby("kind", sort=False).head(1)
    seen = (
        f"{row.kind} {row.region} {row.mae:.3f} ({row.low:.3f} to {row.high:.3f}, {row.n} crystals)"
        for row in worst.itertuples()
    )
    return True, f"worst of each kind, in {report.unit}: " + "; ".join(seen)


def _ablations(report: Report) -> Found:
    if report.scores is None:
        return MISSING
    if not report.aware:
        return True, "not claimed: no model here changes its prediction when the atoms of a crystal move"
    lacking = [name for name in report.aware if name not in report.ablated]
    if lacking:
        return None, f"The prediction of {' and of '.join(lacking)} depends on the positions"
    return True, "; ".join(_ablation(name, report.ablated[name]) for name in report.aware)


def _ablation(name: str, table: Any) -> str:
    ratios = ", ".join(
        f"{what} {row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        for what, row in table.iloc[1:].iterrows()
    )
    used = table.loc["positions shuffled"].ratio_low > CLEARLY
    verdict = "learns from the structure" if used else "is hardly more than a composition model in disguise"
    return f"{name} {verdict}. Its error, retrained, over that of the intact crystals: {ratios}"


def _audit(report: Report) -> Found:
    if report.leaks is None:
        return MISSING
    if report.leaks:
        return False, "; ".join(map(str, report.leaks))
    if report.scores is None:
        return (
            None,
            "No model was fitted before the audit, so no preprocessing was looked at: ladder(...) first",
        )
    return True, " ".join(report.audited)


def _interval(report: Report) -> Found:
    if report.scores is None:
        return MISSING
    row = report.scores.loc[report.headline]
    if not row.low < row.high:
        return False, "the test part has a single composition: no interval; hold out more"
    found = (
        f"{report.headline}: MAE {row.mae:.3f}, 95 % interval {row.low:.3f} to {row.high:.3f} {report.unit}"
    )
    if (size := report.split.effective_sample_size) < LEAST:
        found += (
            f". With an effective sample size of {size:.2g} it does not say what another group would give"
        )
    return True, found


def _documented(report: Report) -> Found:
    return (True, report.methods) if report.methods else MISSING


def _kind(model: Any) -> str:
    """ "constant", "linear", "boosted trees" or "" for a scikit-learn estimator or pipeline."""
    last = model.steps[-1][1] if getattr(model, "steps", None) else model
    name, module = type(last).__name__, type(last).__module__
    if name == "DummyRegressor":
        return "constant"
    if "Boosting" in name or name in ("XGBRegressor", "LGBMRegressor", "CatBoostRegressor"):
        return "boosted trees"
    return "linear" if module.startswith("sklearn.linear_model") else ""
