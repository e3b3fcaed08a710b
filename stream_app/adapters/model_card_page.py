"""The model card as a Markdown page."""

from collections.abc import Iterable, Mapping, Sequence

from stream_app.adapters.model_card import ModelCard

_QUALITY = ("examples", "churn_rate", "auc", "log_loss", "brier", "ece")


def card_page(card: ModelCard) -> str:
    """Return the card in Markdown."""
    lines = [f"# Model card: {card.model['version']}", ""]
    lines += _section("Model", _pairs(card.model))
    lines += _section("Definition", _pairs(card.definition))
    lines += _section("Data", [*_pairs(card.data), "", *_table(("inputs about", "number"), card.inputs.items())])
    lines += _section("Quality of served scores", _quality([(each.name, each.metrics) for each in card.quality]))
    lines += _section("Calibration", _calibration(card))
    lines += _section("Fairness", _fairness(card))
    lines += _section(
        "Drift", [*_pairs(card.drift), "", *_quality([(each.month, each.metrics) for each in card.months])]
    )
    lines += _section("Champion and challengers", _contest(card.contest))
    lines += _section("Cost", _pairs(card.cost))
    lines += _section("Limits", [f"- {limit}" for limit in card.limits])
    return "\n".join(lines)


def _section(title: str, body: Iterable[str]) -> list[str]:
    return [f"## {title}", "", *body, ""]


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"- {name.replace('_', ' ')}: {_text(value)}" for name, value in values.items()]


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or value.is_integer() else f"{value:,.4g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    body = ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body]


def _quality(parts: Sequence[tuple[str, Mapping[str, float]]]) -> list[str]:
    if not parts:
        return ["No label has come due yet."]
    head = ("part", "labels", "churned", "AUC", "log loss", "Brier", "ECE")
    rows = [(name, *(found.get(key, "-") for key in _QUALITY)) for name, found in parts]
    return _table(head, rows)


def _calibration(card: ModelCard) -> list[str]:
    rows = [
        (f"{each.low:.1f} to {each.low + 0.1:.1f}", each.labels, _share(each.predicted), _share(each.observed))
        for each in card.calibration
    ]
    return _table(("score", "labels", "mean score", "churned"), rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _fairness(card: ModelCard) -> list[str]:
    declared = ", ".join(card.fairness_attributes) or "none"
    lines = [f"Attributes that profiles declare (never features): {declared}.", ""]
    report = card.fairness
    if report is None:
        return [*lines, "No attribute was chosen to compare groups by (`--attribute NAME`)."]
    rows = [
        (
            each.group,
            each.customers,
            _share(each.contacted_share),
            "-" if each.offer_value is None else f"{each.offer_value:.2f}",
            each.labelled,
            "-" if each.score_bias is None else f"{each.score_bias:+.3f}",
        )
        for each in report.groups
    ]
    head = (report.attribute, "customers", "contacted", "mean offer", "labelled", "score less label")
    found = [f"- {finding}" for finding in report.findings] or ["Nothing is beyond the bounds and beyond chance."]
    return [*lines, *_table(head, rows), "", *found]


def _contest(contest: Mapping[str, object]) -> list[str]:
    lines = [f"- champion: {contest['champion']}"]
    if contest["waits_for_approval"]:
        lines.append(f"- waits for approval: {contest['waits_for_approval']}")
    standings = contest["challengers"]
    if isinstance(standings, list) and standings:
        keys = ("challenger", "difference", "low", "high", "weeks", "examples", "error_rate")
        rows = [["-" if row[key] is None else row[key] for key in keys] for row in standings]
        head = ("challenger", "better by (nats)", "at least", "at most", "weeks", "labels", "error rate")
        lines += ["", *_table(head, rows)]
    changes = contest["changes"]
    if isinstance(changes, list) and changes:
        rows = [[change[key] for key in ("at", "kind", "from", "to", "by")] for change in changes]
        lines += ["", *_table(("at", "what", "from", "to", "by"), rows)]
    selection = contest["selection"]
    if isinstance(selection, dict) and selection:
        lines += ["", *_table(("segment", "model"), selection.items())]
    return lines
