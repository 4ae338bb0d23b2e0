"""Who may talk to the page: only itself, on this machine; from elsewhere only with the token of its address.

A web page of somebody else that is open in the same browser can send requests to 127.0.0.1, under a foreign name that
resolves to it (DNS rebinding) or as a cross-site websocket. Both are refused by the headers Host and Origin.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws://{host}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Access:
    """The address that the server listens on; ``token`` is None on the loopback interface."""

    host: str
    port: int
    token: str | None = field(repr=False)

    def url(self) -> str:
        """Return the page's address, with the token if there is one."""
        host = socket.gethostname() if is_any(self.host) else self.host
        query = f"/?token={self.token}" if self.token is not None else "/"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{query}"

    def host_allowed(self, header: str | None) -> bool:
        """Whether a Host header names this server: its own name or address, with its port."""
        try:
            parts = urlsplit(f"//{header}")
            name, port = (parts.hostname or ""), parts.port or 80
        except ValueError:
            return False
        if not header or port != self.port or parts.username is not None or parts.path or parts.query:
            return False
        own = {self.host.lower()}
        if self.token is None or is_any(self.host):
            own.update(LOCAL_NAMES)
        if is_any(self.host):
            own.add(socket.gethostname().lower())
        return name in own or (is_any(self.host) and is_address(name))

    def origin_allowed(self, origin: str | None, host: str | None) -> bool:
        """Whether an Origin header is that of this server's own page."""
        return self.host_allowed(host) and origin is not None and origin.lower() == f"http://{host}".lower()

    def token_allowed(self, shown: str | None) -> bool:
        """Whether a token is the right one; the time that this takes says nothing of it."""
        if self.token is None:
            return True
        return hmac.compare_digest((shown or "").encode("utf-8", "surrogateescape"), self.token.encode())


def access_of(host: str, port: int) -> Access:
    """Return the access rules of an address: a new token unless it is a loopback address."""
    return Access(host, port, None if is_loopback(host) else secrets.token_urlsafe(24))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_any(host: str) -> bool:
    """Whether an address means all interfaces."""
    return is_address(host) and ipaddress.ip_address(host).is_unspecified


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
