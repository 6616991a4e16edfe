"""Certificates for tests: an authority that issues PEM files for 127.0.0.1 and localhost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as files."""

    cert: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """The files of `other` take the place of these, each by a rename."""
        os.replace(other.key, self.key)
        os.replace(other.cert, self.cert)


class Authority:
    """A CA with its own folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *names: str) -> Pair:
        """A certificate for `names`, by default those of this machine."""
        issued = self._ca.issue_cert(*(names or NAMES))
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.private_key_pem.write_to_path(pair.key)
        pair.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return pair
