"""`stream-app settings` and the settings themselves: sources, secrets, contradictions."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from stream_app.adapters.clients import bootstrap_servers, client_arguments, faust_authentication, faust_broker_urls
from stream_app.cli.main import main
from stream_app.cli.settings import MASK, unknown_variables
from stream_app.core.topics import Topic
from stream_app.settings import ENV_PREFIX, Settings, SettingsError, load_settings


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, str]]:
    with pytest.raises(SystemExit) as ended:
        main(["settings", "--json", *arguments])
    assert not ended.value.code
    return {row["variable"]: row for row in json.loads(capsys.readouterr().out)}


def test_every_field_is_shown_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys)

    assert set(rows) == {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert all(len(row["description"]) > 5 for row in rows.values())
    assert all(row["source"] == "default" for row in rows.values())


def test_sources_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dotenv = tmp_path / "env"
    dotenv.write_text("STREAM_APP_PARTITIONS=6\nSTREAM_APP_CLOCK=event\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(dotenv))
    monkeypatch.setenv("STREAM_APP_CLOCK", "wall")
    rows = shown(capsys, "--changed")

    assert {name: (row["value"], row["source"]) for name, row in rows.items()} == {
        "STREAM_APP_PARTITIONS": ("6", ".env"),
        "STREAM_APP_CLOCK": ("wall", "environment"),
    }


def test_no_secret_is_ever_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
    for name in secrets:
        monkeypatch.setenv(ENV_PREFIX + name.upper(), "swordfish")
    rows = shown(capsys)

    assert len(secrets) >= 5
    assert {rows[ENV_PREFIX + name.upper()]["value"] for name in secrets} == {MASK}
    with pytest.raises(SystemExit):
        main(["settings"])
    assert "swordfish" not in capsys.readouterr().out


def test_a_misspelt_variable_is_pointed_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_APP_PARTITONS", "6")
    with pytest.raises(SystemExit) as ended:
        main(["settings"])

    assert not ended.value.code
    assert "did you mean STREAM_APP_PARTITIONS?" in capsys.readouterr().err
    assert unknown_variables() == ["STREAM_APP_PARTITONS"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"TOPIC_ORDERS": "a b"}, ["STREAM_APP_TOPIC_ORDERS", "'a b'"]),
        ({"TOPIC_ORDERS": "clickstream"}, ["STREAM_APP_TOPIC_ORDERS", "STREAM_APP_TOPIC_CLICKSTREAM"]),
        ({"TIER_HIGH": "0.9"}, ["STREAM_APP_TIER_HIGH", "0.9"]),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, ["STREAM_APP_SASL_USERNAME"]),
        ({"TLS_CERT_FILE": "cert.pem"}, ["STREAM_APP_TLS_KEY_FILE"]),
        ({"OBSERVATION_DAYS": "10"}, ["STREAM_APP_LOOK_DAYS"]),
        ({"PARTITIONS": "0", "CLOCK": "sundial"}, ["STREAM_APP_PARTITIONS", "STREAM_APP_CLOCK"]),
        ({"EXCHANGE_RATES": "USD=0.9"}, ["STREAM_APP_EXCHANGE_RATES", "JSON"]),
        ({"EXCHANGE_RATES": '{"USD": 0}'}, ["STREAM_APP_EXCHANGE_RATES"]),
        ({"DEFAULT_CURRENCY": "EURO"}, ["STREAM_APP_DEFAULT_CURRENCY"]),
    ],
)
def test_bad_and_contradicting_values_are_named(
    values: dict[str, str], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(ENV_PREFIX + name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert all(text in str(refused.value) for text in named), str(refused.value)


def test_a_bad_secret_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_SASL_PASSWORD", "swordfish")
    monkeypatch.setenv("STREAM_APP_PARTITIONS", "0")
    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert "swordfish" not in str(refused.value)


def test_topics_have_their_own_names_and_are_found_by_them() -> None:
    settings = Settings(topic_orders="shop.orders")

    assert settings.topic(Topic.ORDERS) == "shop.orders"
    assert settings.role_of("shop.orders") is Topic.ORDERS
    assert settings.role_of("orders") is None
    assert all(settings.role_of(settings.topic(role)) is role for role in Topic)


def test_the_clock_decides_who_judges_the_future() -> None:
    assert Settings(clock="wall", future_tolerance_seconds=60).decode_limits().future_tolerance_ms == 60_000
    assert Settings(clock="event").decode_limits().future_tolerance_ms is None


def test_the_source_of_cloud_events_names_the_app() -> None:
    assert Settings(app_id="shop").encode_policy().source == "urn:stream-app:shop"
    assert Settings(cloudevents_source="https://shop.example/churn").encode_policy().source.startswith("https:")
    assert Settings(cloudevents_mode="structured").encode_policy().structured


def test_all_clients_get_the_same_addresses_and_credentials() -> None:
    settings = Settings(
        bootstrap="a:9092, b:9092",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="shop",
        sasl_password=SecretStr("swordfish"),
    )

    assert bootstrap_servers(settings) == ["a:9092", "b:9092"]
    assert faust_broker_urls(settings) == ["aiokafka://a:9092", "aiokafka://b:9092"]
    assert client_arguments(settings) == {
        "bootstrap_servers": ["a:9092", "b:9092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "shop",
        "sasl_plain_password": "swordfish",
    }
    credentials = faust_authentication(settings)
    assert (credentials.kind, credentials.username, credentials.password) == ("sasl", "shop", "swordfish")
    assert credentials.ssl_context is None


def test_tls_makes_one_verifying_context() -> None:
    settings = Settings(security_protocol="SSL")
    context = client_arguments(settings)["ssl_context"]

    assert context.check_hostname
    assert faust_authentication(settings).kind == "ssl"
    assert faust_authentication(Settings()).kind == "none"


def test_a_missing_certificate_is_named() -> None:
    with pytest.raises(OSError, match="No such file"):
        client_arguments(Settings(security_protocol="SSL", tls_ca_file=Path("missing.pem")))
