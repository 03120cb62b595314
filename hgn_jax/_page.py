"""HTML pages that hold their data and scripts, and so need no server."""

import json
import re
from collections.abc import Mapping
from typing import Any


def filled(page: str, pieces: Mapping[str, str]) -> str:
    """The page with every mark `@NAME@` replaced by the piece of that name; marks inside of pieces
    stay."""
    # A function, because `re` would interpret backslashes in a replacement.
    return re.sub(f"@({'|'.join(pieces)})@", lambda mark: pieces[mark[1]], page)


def as_json(value: Any) -> str:
    """Compact JSON of finite numbers that may stand inside of a script element."""
    # "</script>" in a string would close the element.
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
