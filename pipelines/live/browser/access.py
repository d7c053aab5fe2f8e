"""Access to the browser view: where the server listens, the names and the token of its address, and https."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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
    """Must be part of the page's address; generated if none is given, because other users of this machine can connect."""
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
        if self.token is None:
            object.__setattr__(self, "token", secrets.token_urlsafe(16))

    @property
    def listens_everywhere(self) -> bool:
        """Whether the server listens on all addresses of this machine."""
        return self.host in ("", "0.0.0.0", "::")

    def url(self, port: int) -> str:
        """The page's address, with the token, as a link that opens; `port` is the one that the server got."""
        name = _own_address() if self.listens_everywhere else self.host
        host = f"[{name}]" if ":" in name else name
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{host}:{port}/?token={quote(self.token or '', safe='')}"

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
        """Whether the `Host` header is a name of this server; protects against DNS rebinding.

        Rebinding gives a foreign name this machine's address. So where the server listens on all addresses, any address is
        right, but no foreign name. Over https, browsers themselves compare the name with the certificate.
        """
        if self.certificate is not None:
            return True
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        if name in (self.host.lower(), "localhost", "127.0.0.1", "::1"):
            return True
        if not self.listens_everywhere:
            return False
        machine = socket.gethostname().lower()
        return name in (machine, f"{machine}.local") or _is_address(name)

    def allows_token(self, token: str) -> bool:
        """Whether a request's token is right."""
        return hmac.compare_digest(token.encode(errors="replace"), (self.token or "").encode(errors="replace"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_address() -> str:
    """The address by which others reach this machine; 127.0.0.1 without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of documentation; connecting a UDP socket sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
