"""A process of many threads that all want fresh tokens at once: says what each got, as JSON; run by a test."""

import hashlib
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import orjson

import models.schema  # noqa: F401 - every table, as in a worker
from integrations.errors import IntegrationError
from worker.grants import fresh_tokens
from worker.logs import configure
from worker.services import build
from worker.settings import read_settings


def main(tenant_id: str, connection_id: str, threads: int) -> None:
    configure()
    services = build(read_settings())
    barrier = threading.Barrier(threads + 1)

    def ask() -> str:
        barrier.wait()
        try:
            tokens = fresh_tokens(services, tenant_id, connection_id)
        except IntegrationError as error:
            return type(error).__name__
        return "none" if tokens is None else hashlib.sha256(tokens["access_token"].encode()).hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask) for _ in range(threads)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        barrier.wait()
        found = Counter(one.result() for one in asked)
    sys.stdout.write(orjson.dumps(dict(found)).decode())
    services.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
