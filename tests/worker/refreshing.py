"""Processes of many threads that all want fresh tokens at once: each says what its threads got, as JSON; run by a test.

They are forked from one that has imported what they need, as four starts cost more than all that they do.
"""

import hashlib
import os
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


def ask_all(tenant_id: str, connection_id: str, threads: int) -> None:
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
        tell(b"ready")
        os.read(0, 1)  # each takes one byte of the word
        barrier.wait()
        found = Counter(one.result() for one in asked)
    tell(orjson.dumps(dict(found)))
    services.close()


def tell(line: bytes) -> None:
    """A whole line at once, as others write too."""
    os.write(1, line + b"\n")


def main(tenant_id: str, connection_id: str, threads: int, processes: int) -> int:
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            ask_all(tenant_id, connection_id, threads)
            os._exit(0)
        children.append(child)
    return max(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
