"""What the project says is about the product: no machine's folders, no index's host, no token that was left behind."""

import re

from tests.project.places import ROOT, text_files

# Written in pieces, so that this file does not say them itself.
_HOSTS = ("pypi" + r"\.org", "python" + "hosted", r"registry\.npm" + "js", r"deb\.deb" + r"ian\.org")
_FOLDERS = (
    "/ho" + r"me/[a-z]",
    "/Us" + r"ers/[A-Za-z]",
    "/ro" + r"ot/",
    r"(?<![\w.])/wo" + "rk/",
    "/o" + "pt/(?!troth)",
)
_TOKENS = (r"\bEAA[A-Za-z0-9]{40,}", r"\bya29\.[\w-]{20,}", "PRIVATE " + "KEY-----", r"\bgh[pousr]_[A-Za-z0-9]{20,}")


def _found(patterns: tuple[str, ...]) -> list[str]:
    wanted = re.compile("|".join(patterns))
    hits = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if wanted.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}")
    return hits


def test_no_package_index_is_named() -> None:
    assert _found(_HOSTS) == []


def test_no_folder_of_somebodys_machine_is_named() -> None:
    assert _found(_FOLDERS) == []


def test_no_token_was_left_behind() -> None:
    assert _found(_TOKENS) == []


def test_every_file_is_utf_8_without_carriage_returns_and_ends_with_one_newline() -> None:
    odd = []
    for path in text_files():
        raw = path.read_bytes()
        if raw and (b"\r" in raw or not raw.endswith(b"\n") or raw.endswith(b"\n\n")):
            odd.append(str(path.relative_to(ROOT)))
    assert odd == []
