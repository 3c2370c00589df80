"""Personal data as lists show it: enough to recognise a person one knows, too little to take away."""


def masked_email(email: str | None) -> str | None:
    """a***@example.com."""
    if not email:
        return None
    name, at, host = email.partition("@")
    return f"{name[:1]}***@{host}" if at else "***"


def masked_phone(phone: str | None) -> str | None:
    """The last two digits."""
    if not phone:
        return None
    digits = [letter for letter in phone if letter.isdigit()]
    return "•••• " + "".join(digits[-2:]) if len(digits) > 4 else "•••"


def masked_name(name: str | None) -> str | None:
    """The first letter of each of at most three words."""
    if not name:
        return None
    return " ".join(f"{word[:1]}***" for word in name.split()[:3]) or None
