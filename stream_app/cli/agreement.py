"""`stream-app model agreement`: whether live scores are those that an evaluation of the same files tells."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka import ConsumerRecord

from stream_app.adapters.assembly import policy_of
from stream_app.adapters.topic_reading import read_topics
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import InputTopic, customer_records, open_files, progress_over
from stream_app.cli.json_ready import json_ready
from stream_app.core.effects import TrainingExample
from stream_app.core.topics import Topic
from stream_app.evaluation.agreement import agreement, disagreements
from stream_app.evaluation.reporting import KINDS
from stream_app.evaluation.running import run_pass
from stream_app.learning.learner import Learner
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.settings import Settings, load_settings
from stream_app.wire.encode import decode_example

LARGEST_DIFFERENCE = 0.005
LARGEST_UNMATCHED_SHARE = 0.01


def command(
    files: Annotated[list[Path], typer.Argument(help="The files that were fed with --wait-for-trainer.")],
    topic: Annotated[
        InputTopic | None, typer.Option(help="What the lines are. Default: told from line or name.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Table format: uci-online-retail (told by .csv).")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Largest difference of AUC that still is agreement.")
    ] = LARGEST_DIFFERENCE,
    unmatched_share: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of the observations that only one side may have.")
    ] = LARGEST_UNMATCHED_SHARE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Compare the scores that workers served with an evaluation of the same files; exit 1 where they disagree.

    They agree where AUCs of the common observations lie close together, all their labels are the same, and hardly any
    observation stands on one side only.

    Served scores stand on training-examples, each with its label. For the same observations as an evaluation takes, run
    worker and trainer with STREAM_APP_OBSERVATION_ORIGIN set to the first day of the files,
    STREAM_APP_THIN_OBSERVATIONS=false, STREAM_APP_ALLOWED_LATENESS_SECONDS=0 and STREAM_APP_ALIGNMENT_WAIT_MS=-1.

    \b
    Example:
      stream-app feed orders.jsonl.gz --wait-for-trainer
      stream-app model agreement orders.jsonl.gz
    """
    settings = load_settings()
    served = _served(settings)
    rejected: Counter[str] = Counter()
    opened = open_files(files, topic, preset)
    with progress_over(opened, "evaluating") as show:
        try:
            result = run_pass(
                customer_records(opened, rejected),
                Learner(settings.horizon_days),
                policy_of(settings),
                LexicalSentiment(),
                show,
            )
        except ValueError as failure:
            raise CommandError(f"{failure}: is the file empty, or is --topic wrong?", ExitCode.FINDING) from failure
    found = [agreement(result, served, kind) for kind in KINDS]
    apart = {one["observations"]: disagreements(one, tolerance, unmatched_share) for one in found}
    reasons = [f"{kind}: {reason}" for kind, told in apart.items() for reason in told]
    if as_json:
        limits = {"tolerance": tolerance, "unmatched_share": unmatched_share}
        print(json.dumps(json_ready({"agrees": not reasons, **limits, "disagreements": apart, "results": found})))
    else:
        for one in found:
            _print(one)
    if reasons:
        raise CommandError("live and evaluated scores disagree: " + "; ".join(reasons))


def _served(settings: Settings) -> list[TrainingExample]:
    served: list[TrainingExample] = []

    def take(_: Topic, record: ConsumerRecord) -> None:
        if record.value is not None:
            served.append(decode_example(record.value))

    asyncio.run(read_topics(settings, (Topic.TRAINING,), take))
    return [example for example in served if example.horizon_days == settings.horizon_days]


def _print(one: dict[str, Any]) -> None:
    print(
        f"{one['observations']}, H = {one['horizon_days']} days, from {one['test_from'][:10]}: "
        + (
            "no AUC"
            if one["auc_difference"] is None
            else f"AUC live {one['live']['auc']:.4f}, evaluated {one['evaluated']['auc']:.4f}, "
            f"difference {one['auc_difference']:+.5f}"
        )
    )
    apart = one["mean_probability_difference"]
    print(
        f"  {one['in_both']:,} common observations, {one['only_live']:,} only live, {one['only_evaluated']:,} only "
        f"evaluated, {one['other_label']:,} with another label"
        + ("" if apart is None else f"; probabilities {apart:.5f} apart on the mean")
    )
