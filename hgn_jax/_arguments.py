"""Arguments that must be whole numbers."""

import operator


def whole_number(name: str, value: object, least: int) -> int:
    """The value as an int. Raises `ValueError` for what is no integer, or less than the least."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number
