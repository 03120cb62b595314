"""Checks of integer arguments."""

import operator


def whole_number(name: str, value: object, least: int) -> int:
    """The value as an int. Raises `ValueError` if it is not an integer, or is less than `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number
