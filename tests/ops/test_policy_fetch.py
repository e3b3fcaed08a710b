"""The published policy can be saved, and what was saved pins a worker."""

import asyncio
from pathlib import Path

import pytest

from stream_app.adapters.assembly import DeciderMaker
from stream_app.adapters.policy_versions import policy_record
from stream_app.cli.main import main
from stream_app.decisions.policy import load_policy
from stream_app.settings import Settings
from stream_app.worker.policy_pupil import PolicyPupil
from tests.support.models import send


@pytest.mark.kafka
def test_a_published_policy_is_saved_and_pins_a_worker(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_SNAPSHOTS", kafka_settings.topic_model_snapshots)
    file = tmp_path / "policy.json"

    def fetch() -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(["policy", "fetch", str(file)])
        return int(str(end.value.code or 0)), "".join(capsys.readouterr())

    code, told = fetch()
    assert (code, "no policy yet" in told, file.exists()) == (1, True, False)
    publication = PolicyPupil.kind(kafka_settings).fresh().publication()
    asyncio.run(send(kafka_settings, publication.records))
    assert fetch() == (0, f"{publication.version} in {file}\n")
    pinned = DeciderMaker(Settings(policy_file=file), 1).decider()
    assert pinned.policy_version == publication.version

    monkeypatch.setenv("STREAM_APP_MODEL_KEY", "key")
    file.unlink()
    code, told = fetch()
    assert (code, "STREAM_APP_MODEL_KEY" in told, file.exists()) == (1, True, False)
    asyncio.run(send(kafka_settings, [policy_record(pinned.policy, b"key")]))
    assert fetch()[0] == 0
    assert load_policy(file) == pinned.policy
