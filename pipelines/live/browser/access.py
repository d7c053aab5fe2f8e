"""Access to the browser view: where the server listens, the token of its address, and https."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import UsageError


@dataclass(frozen=True)
class Access:
    """Where the server listens and who may connect.

    Raises:
        UsageError: The port, the number of viewers or the token is invalid.
    """

    host: str = "127.0.0.1"
    port: int = 8008
    """TCP port; 0 chooses a free one."""
    viewers: int = 4
    """Largest number of open pages."""
    token: str | None = None
    """Must be part of the page's address; generated if other machines can reach the server and none is given."""
    certificate: Path | None = None
    """PEM file; if given, the page is served over https."""
    key: Path | None = None
    """PEM file of the certificate's key, if it is not in the same file."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UsageError(f"port must be 0..65535, got {self.port}")
        if self.viewers < 1:
            raise UsageError(f"viewers must be at least 1, got {self.viewers}")
        if self.token is not None and len(self.token) < 8:
            raise UsageError("token must have at least 8 characters")
        if self.token is None and not self.is_local:
            object.__setattr__(self, "token", secrets.token_urlsafe(16))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int) -> str:
        """The page's address, with the token; `port` is the one that the server got."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        token = f"?token={self.token}" if self.token else ""
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}/{token}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for https; None without a certificate.

        Raises:
            UsageError: The certificate or its key cannot be loaded.
        """
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # includes ssl.SSLError
            raise UsageError(f"--cert {self.certificate}: cannot load the certificate and its key ({error})") from error
        return context

    def allows_host(self, host: str) -> bool:
        """Whether the `Host` header is a name of this server; protects a local server against DNS rebinding."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return not self.is_local or name.strip("[]") in (self.host, "localhost", "127.0.0.1", "::1")

    def allows_token(self, token: str) -> bool:
        """Whether a request's token is right, if one is required."""
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())
