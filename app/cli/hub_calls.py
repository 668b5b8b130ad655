"""Calls to a hub that runs somewhere: its REST service."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import msgspec

from app.errors import CandlewireError

TIMEOUT_S = 10.0
_SHOWN = 200


class HubUnreachable(CandlewireError):
    """Raised when a hub cannot be asked; says what to try."""


def ask(url: str, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the answer of a hub at `url`, such as http://127.0.0.1:8000; raise `HubUnreachable`.

    Proxies of the environment are used, but for this machine's own address.
    """
    address = url.rstrip("/") + path
    if not address.startswith(("http://", "https://")):
        message = f"--url={url}: expected an address such as http://127.0.0.1:8000"
        raise HubUnreachable(message)
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310 - see above
            return msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(_SHOWN).decode(errors="replace").split())
        message = f"{address}: HTTP {error.code} {said}"
        raise HubUnreachable(message) from error
    except msgspec.DecodeError as error:
        message = f"{address}: the answer is no JSON, so this is no hub's REST port"
        raise HubUnreachable(message) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        message = (
            f"no hub answers at {url} ({reason}). Start one with `candlewire serve`, or name "
            "another with --url."
        )
        raise HubUnreachable(message) from error
