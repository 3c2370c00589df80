"""The environment is read in one place, and all its mistakes come at once."""

import base64
from pathlib import Path

import pytest

from worker.settings import BadSettings, read_settings, with_dotenv

KEY = "k1:" + base64.b64encode(b"k" * 32).decode()
SECRET = base64.b64encode(b"s" * 31).decode()


def test_every_mistake_is_named_at_once_and_no_secret_is_shown() -> None:
    with pytest.raises(BadSettings) as caught:
        read_settings(
            {
                "TROTH_MASTER_KEYS": f"k1:{SECRET}",
                "TROTH_BASE_URL": "crm.example.com",
                "TROTH_REDIS_URL": "http://x",
                "TROTH_TENANT_JOBS_IN_FLIGHT": "many",
                "TROTH_META_GRAPH_VERSION": "26",
                "TROTH_PLATFORM_KEY": "short",
            }
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "TROTH_REDIS_URL",
        "TROTH_BASE_URL",
        "TROTH_MASTER_KEYS",
        "TROTH_TENANT_JOBS_IN_FLIGHT",
        "TROTH_META_GRAPH_VERSION",
        "TROTH_PLATFORM_KEY",
    ]
    assert SECRET not in str(caught.value)


def test_a_missing_master_key_says_how_to_make_one() -> None:
    with pytest.raises(BadSettings, match="troth keys master"):
        read_settings({})


def test_defaults_are_one_machine_with_sqlite(tmp_path: Path) -> None:
    settings = read_settings({"TROTH_MASTER_KEYS": KEY, "TROTH_DATA_DIR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/troth.db"
    assert settings.redis_url is None
    assert settings.meta.missing == ["TROTH_META_APP_ID", "TROTH_META_APP_SECRET", "TROTH_META_VERIFY_TOKEN"]


def test_secrets_are_not_in_the_settings_repr() -> None:
    settings = read_settings(
        {"TROTH_MASTER_KEYS": KEY, "TROTH_META_APP_SECRET": "appsecret", "TROTH_PLATFORM_KEY": "p" * 30}
    )
    assert "appsecret" not in repr(settings)
    assert "p" * 30 not in repr(settings)
    assert "kkkk" not in repr(settings)


def test_the_environment_goes_before_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# note\nexport TROTH_A='one'\nTROTH_B=two\n\nnonsense\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TROTH_B", "three")
    read = with_dotenv()
    assert (read["TROTH_A"], read["TROTH_B"]) == ("one", "three")
