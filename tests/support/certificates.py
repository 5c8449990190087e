# SPDX-License-Identifier: Apache-2.0
"""An authority and its certificates, made by openssl(1), and TLS contexts that trust it."""

import pathlib
import ssl
import subprocess


def run(*args, folder):
    subprocess.run(["openssl", *map(str, args)], cwd=folder, check=True, capture_output=True, timeout=60)


class Authority:
    """Files below `folder`: authority.pem, and NAME.pem and NAME.key for each certificate."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = str(self.folder / "authority.pem")
        self._make_key("authority")
        run("req", "-x509", "-new", "-key", "authority.key", "-subj", "/CN=authority", "-days", 30, "-out", self.path,
            "-addext", "keyUsage=critical,keyCertSign", folder=self.folder)

    def _make_key(self, name):
        run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key", folder=self.folder)

    def make(self, name, days=30, subject="gateway"):
        """A certificate for localhost and 127.0.0.1: the paths of its two files. Of -1 days: expired."""
        self._make_key(name)
        (self.folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={subject}", "-out", f"{name}.csr", folder=self.folder)
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem", folder=self.folder)
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    def trust(self, protocols=(), version=None):
        """A client's context; `version` is the newest it speaks."""
        context = ssl.create_default_context(cafile=self.path)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if version:
            context.maximum_version = version
        return context
