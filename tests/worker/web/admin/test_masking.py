"""Lists show a person only to who knows them."""

import pytest

from worker.web.admin.masking import masked_email, masked_name, masked_phone


@pytest.mark.parametrize(
    ("whole", "masked"),
    [
        (None, None),
        ("", None),
        ("ada@example.com", "a***@example.com"),
        ("@example.com", "***@example.com"),
        ("ada", "***"),
    ],
)
def test_an_email_keeps_its_first_letter_and_host(whole: str | None, masked: str | None) -> None:
    assert masked_email(whole) == masked


@pytest.mark.parametrize(
    ("whole", "masked"),
    [(None, None), ("", None), ("+353 87 123 4567", "•••• 67"), ("1234", "•••"), ("ask at the desk", "•••")],
)
def test_a_phone_keeps_two_digits(whole: str | None, masked: str | None) -> None:
    assert masked_phone(whole) == masked


@pytest.mark.parametrize(
    ("whole", "masked"),
    [(None, None), ("  ", None), ("Ada", "A***"), ("Ada Lovelace", "A*** L***"), ("a b c d e", "a*** b*** c***"),
     ("株式会社 みほん", "株*** み***")],
)  # fmt: skip
def test_a_name_keeps_its_initials(whole: str | None, masked: str | None) -> None:
    assert masked_name(whole) == masked
