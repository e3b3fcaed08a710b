"""The folder `schemas/` is what the models say, its examples are accepted, and the checker finds every fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.schema_files import Example, check, export, generate, iter_examples, release
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record, TimePassed
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.wire.contracts import CONTRACTS, schema_id, schema_of
from stream_app.wire.decode import decode, decode_reference
from stream_app.wire.encode import INTERVENTION_SCHEMA, to_json
from stream_app.wire.rejection import Rejection

SCHEMAS = Path(__file__).parents[2] / "schemas"
EXAMPLES = list(iter_examples(SCHEMAS))
DECODED = [example for example in EXAMPLES if example.contract.topic in {*CUSTOMER_TOPICS, Topic.TICKS}]
REFERENCES = [example for example in EXAMPLES if example.contract.topic in {Topic.PRODUCTS, Topic.CALENDAR}]
WRITTEN = [example for example in EXAMPLES if example.contract.direction == "out"]


def test_the_folder_is_in_order() -> None:
    assert check(SCHEMAS) == []


def test_every_topic_has_one_contract() -> None:
    assert sorted(contract.topic for contract in CONTRACTS) == sorted(Topic)


@pytest.mark.parametrize("example", DECODED, ids=repr)
def test_every_input_example_decodes(example: Example) -> None:
    entry = decode(example.contract.topic, b"k", example.path.read_bytes(), None, 0, 0, 0)

    assert isinstance(entry, Record | TimePassed), entry


@pytest.mark.parametrize("example", REFERENCES, ids=repr)
def test_every_reference_example_decodes(example: Example) -> None:
    assert not isinstance(decode_reference(example.contract.topic, example.path.read_bytes()), Rejection)


@pytest.mark.parametrize("example", WRITTEN, ids=repr)
def test_every_output_example_is_what_we_would_write(example: Example) -> None:
    model = example.contract.model
    assert model is not None
    assert issubclass(model, BaseModel)
    body = model.model_validate_json(example.path.read_bytes(), strict=True)

    written = json.loads(to_json(body))
    assert model.model_validate(written) == body
    assert set(json.loads(example.path.read_bytes())) == set(written), "an output always carries every field"


def test_the_engine_takes_every_input_example() -> None:
    entries = [
        decode(example.contract.topic, b"k", example.path.read_bytes(), None, 0, number, 0)
        for number, example in enumerate(DECODED)
    ]
    taken = sorted((entry for entry in entries if not isinstance(entry, Rejection)), key=lambda entry: entry.at_ms)
    engine = engine_of(Settings(clock="event"), partitions=1)
    store = DictStore()
    effects = engine.process(engine.open_shard(0, store, PartitionState()), taken)

    assert len(taken) == len(DECODED)
    assert not effects.rejected
    assert {entry.customer_id for entry in taken if isinstance(entry, Record)} == set(store.states)


def test_the_schema_of_interventions_is_the_one_that_events_name() -> None:
    assert schema_id(Topic.INTERVENTIONS, 1) == INTERVENTION_SCHEMA


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"))

    def follow(node: Any) -> list[str]:
        if isinstance(node, dict):
            here = [node["$ref"]] if "$ref" in node else []
            return here + [reference for child in node.values() for reference in follow(child)]
        return [reference for child in node for reference in follow(child)] if isinstance(node, list) else []

    references = follow(document)
    assert references
    for reference in references:
        if reference.startswith("#/"):
            node = document
            for step in reference.removeprefix("#/").split("/"):
                node = node[step]
        else:
            assert (SCHEMAS / reference).is_file(), reference


def test_outputs_leave_room_for_fields_to_come() -> None:
    for contract in CONTRACTS:
        if contract.direction != "in" and contract.model is not None:
            assert '"additionalProperties": false' not in json.dumps(schema_of(contract))


# --- the checker itself: every rule finds its fault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, target)
    release(target)
    assert check(target) == []
    return target


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("name", ["json/orders.v1.schema.json", "topics/orders.yaml", "asyncapi.yaml"])
def test_drift_and_absence_are_found_and_export_mends_them(folder: Path, name: str) -> None:
    (folder / name).write_text("{}\n", encoding="utf-8")
    assert [(finding.rule, finding.file) for finding in check(folder)] == [("drift", name)]

    (folder / name).unlink()
    assert [(finding.rule, finding.file) for finding in check(folder)] == [("drift", name)]

    assert export(folder) == [name]
    assert check(folder) == []


@pytest.mark.parametrize(
    "name",
    [
        "json/payments.v1.schema.json",
        "json/orders.v2.schema.json",
        "topics/payments.yaml",
        "examples/payments/v1/a.json",
        "examples/orders/v2/a.json",
        "examples/orders/v1/notes.txt",
        "released/payments.v1.schema.json",
    ],
)
def test_orphans_are_found(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}", encoding="utf-8")

    assert [(finding.rule, finding.file) for finding in check(folder)] == [("orphan", name)]


def test_a_topic_without_an_example_is_found(folder: Path) -> None:
    shutil.rmtree(folder / "examples" / "ticks")

    assert [finding.rule for finding in check(folder)] == ["no-example"]


@pytest.mark.parametrize(
    ("topic", "fault"),
    [
        ("orders", {"amount": -1}),
        ("orders", {"currency": "EURO"}),
        ("clickstream", {"timestamp": "yesterday"}),
        ("reviews", {"rating": "5"}),
        ("churn-scores", {"surprise": 1}),
        ("training-examples", {"churned": "yes"}),
    ],
)
def test_an_invalid_example_is_found(folder: Path, topic: str, fault: dict[str, Any]) -> None:
    path = min((folder / "examples" / topic / "v1").glob("*.json"))
    edit(path, lambda document: document.update(fault))

    findings = check(folder)
    assert {(finding.rule, finding.file) for finding in findings} == {
        ("bad-example", path.relative_to(folder).as_posix())
    }


def test_an_example_that_is_no_json_is_found(folder: Path) -> None:
    (folder / "examples/orders/v1/broken.json").write_text("{", encoding="utf-8")

    assert [finding.rule for finding in check(folder)] == ["bad-example"]


def test_a_breaking_change_against_the_release_is_found(folder: Path) -> None:
    # What was released accepted a longer customer id than the models do now, and promised a field that is gone.
    edit(
        folder / "released/orders.v1.schema.json",
        lambda schema: schema["properties"]["customer_id"].update(maxLength=512),
    )
    edit(
        folder / "released/churn-scores.v1.schema.json",
        lambda schema: schema["properties"].update(segment={"type": "string"}),
    )

    findings = check(folder)
    assert {finding.rule for finding in findings} == {"breaking"}
    assert "customer_id: maxLength was 512, is 128" in findings[0].detail
    assert "segment was removed" in findings[1].detail


def test_a_version_that_was_never_released_is_a_gap(folder: Path) -> None:
    contracts = [contract._replace(version=3) if contract.topic is Topic.TICKS else contract for contract in CONTRACTS]
    export(folder, contracts)
    shutil.move(folder / "examples/ticks/v1", folder / "examples/ticks/v3")
    (folder / "json/ticks.v1.schema.json").unlink()

    findings = check(folder, contracts)
    assert [(finding.rule, finding.file) for finding in findings] == [("gap", "released/ticks.v2.schema.json")]


def test_generation_is_deterministic() -> None:
    assert generate() == generate()
