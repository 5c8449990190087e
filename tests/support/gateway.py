# SPDX-License-Identifier: Apache-2.0
"""Gateways for tests: start vllmgw-server on a free port, talk to it in bytes or in requests, read its log.

    with Engine() as engine, Gateway({"small": engine}) as gateway:
        answer = gateway.chat("small", stream=True)
        assert answer.status == 200 and answer.is_clean
        assert gateway.access()[-1]["status"] == 200

Leaving the block without an exception stops the gateway and insists on exit status 0 and on no report of a
sanitizer. Standard library only.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

from engine import binary, wait_until

SANITIZER = re.compile(r"^.*(?:Sanitizer|runtime error:).*$", re.M)


# --- one connection, as bytes ---

class Answer:
    """One answer, parsed strictly. headers: list of (lower-case name, value) in order; body: without framing; raw: as
    it came; is_clean: complete by its own framing; chunks: the data of each chunk, as it was framed."""

    def __init__(self, raw, method="GET"):
        self.raw = raw
        head, found, rest = raw.partition(b"\r\n\r\n")
        assert found, f"no complete head: {raw[:300]!r}"
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) ?(.*)", lines[0])
        assert match, f"not a status line: {lines[0]!r}"
        self.status, self.reason = int(match[1]), match[2]
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"not a header: {line!r}"
            self.headers.append((name.lower(), value.strip(" \t")))
        self.chunks, self.trailers, self.after = [], b"", b""
        self._take_body(rest, method)

    def _take_body(self, rest, method):
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            self.body, self.is_clean, self.after = b"", True, rest
        elif (self.get("transfer-encoding") or "").lower() == "chunked":
            self.is_clean, self.after = self._take_chunks(rest)
            self.body = b"".join(self.chunks)
        elif self.get("content-length") is not None:
            length = int(self.get("content-length"))
            self.body, self.after = rest[:length], rest[length:]
            self.is_clean = len(self.body) == length
        else:
            self.body, self.is_clean = rest, None  # ends with the connection

    def _take_chunks(self, rest):
        while True:
            line, newline, after = rest.partition(b"\r\n")
            if not newline:
                return False, b""
            size = int(line.split(b";")[0], 16)
            if size == 0:
                self.trailers, end, after = (b"\r\n" + after).partition(b"\r\n\r\n")
                return bool(end), after
            self.chunks.append(after[:size])
            if len(after) < size + 2:
                return False, b""
            assert after[size:size + 2] == b"\r\n"
            rest = after[size + 2:]

    def get(self, name):
        """The value of the header, None without one. Twice is an error."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object, whose shape is insisted on."""
        error = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["message"] and error["type"] and error["code"], error
        return error

    def events(self):
        """What follows each `data: ` of a stream of server-sent events."""
        return [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r} clean={self.is_clean}>"


class Connection:
    """A raw socket with helpers. Everything received so far is in .data; .is_closed once the other side ended. With
    `trust` (an SSLContext) it speaks TLS; an end without close_notify is noted in was_reset too."""

    def __init__(self, port, timeout=20.0, receive_buffer=0, host="127.0.0.1", trust=None):
        self.sock = socket.socket(socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust:
            self.sock = trust.wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        self.data, self.is_closed, self.was_reset = b"", False, False

    def send(self, data):
        self.sock.sendall(data)

    def send_unless_closed(self, data):
        """Send to a server that may refuse the rest; what it said can be received all the same."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def receive(self):
        """One more piece; False at the end. A reset is an end too, noted in was_reset."""
        try:
            piece = self.sock.recv(262144)
        except (ConnectionResetError, ssl.SSLEOFError):
            self.was_reset, piece = True, b""
        self.data += piece
        self.is_closed = not piece
        return bool(piece)

    def read_until(self, text):
        """Receive until `text` is in .data, or the end."""
        while text not in self.data and self.receive():
            pass
        assert text in self.data, f"ended without {text!r}: {self.data[-500:]!r}"

    def read_all(self):
        """Receive to the connection's end; everything."""
        while self.receive():
            pass
        return self.data

    def _may_be_whole(self):
        """Cheap: large answers are not parsed at every piece, for a reader that is slow in that would be cut off."""
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        if not found or length:
            return bool(found) and len(body) >= int(length[1])
        return not re.search(rb"\r\ntransfer-encoding:", head, re.I) or b"\r\n0\r\n" in body[-65536:] or body[:3] == b"0\r\n"

    def read_answer(self, method="GET"):
        """Receive exactly one answer and take it from .data. 100-continue is not skipped."""
        while True:
            if self._may_be_whole() or self.is_closed or (method == "HEAD" and b"\r\n\r\n" in self.data):
                answer = Answer(self.data, method)
                if answer.is_clean or self.is_closed:
                    self.data = answer.after
                    return answer
            self.receive()

    def reset(self):
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def http(method, path, body=None, headers=(), host="gateway"):
    """The bytes of one well-formed request. body: bytes, or anything that becomes JSON; headers: lines."""
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else [])]
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = [line.split(":")[0].lower() for line in headers]
        lines += ["Content-Type: application/json"] if "content-type" not in names else []
        lines += [f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + (data if body is not None else b"")


def chat_body(model, **more):
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


# --- the server ---

def _model(value):
    """A model from an engine, a URL, a list of these, or the model itself as a mapping."""
    if isinstance(value, dict):
        return value
    engines = value if isinstance(value, (list, tuple)) else [value]
    return {"backend": {"kind": "static", "urls": [getattr(engine, "url", engine) for engine in engines]}}


class Gateway:
    """One vllmgw-server. models: name -> Engine, URL, list of them, or a mapping as in the configuration. Further
    keywords are keys of the configuration (limits={"body": "1MiB"}); text replaces the whole file. wait=False does
    not wait until it listens; program is the command's beginning (a wrapper such as prlimit); trust makes connections
    to it TLS ones (an SSLContext)."""

    def __init__(self, models=None, *args, workers=1, env=None, text=None, wait=True, timeout=20.0, program=(), trust=None,
                 **keys):
        self.folder = tempfile.mkdtemp(prefix="vgw-gateway-")
        self.log_path = os.path.join(self.folder, "log")
        self.config_path = os.path.join(self.folder, "vllmgw.yaml")
        self.trust = trust
        self.port, self._models, self._keys = None, models, {
            "listen": "127.0.0.1:0", "workers": workers, "state_dir": self.folder, **keys}
        self.write_config(text) if text is not None else self.configure()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*program, binary("vllmgw-server"), "-c", self.config_path, *args], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **(env or {})})
        try:
            if wait:
                wait_until(lambda: self._find_port() or self.process.poll() is not None, timeout, "the gateway")
                if not self.port:
                    raise RuntimeError(f"vllmgw-server ended with {self.process.returncode}:\n{self.text}")
        except BaseException:
            self.close()
            raise

    def _find_port(self):
        match = re.search(r"listening on https?://[^\s\"]*:(\d+)", self.text)
        self.port = int(match[1]) if match else None
        return self.port

    # --- configuration ---

    def write_config(self, text):
        pathlib.Path(self.config_path).write_text(text)

    def configure(self, models=None, **keys):
        """Write the configuration anew (JSON is YAML); what is not given stays."""
        self._models = self._models if models is None else models
        self._keys.update(keys)
        models = {name: _model(value) for name, value in (self._models or {}).items()}
        self.write_config(json.dumps({**self._keys, "models": models}, indent=1) + "\n")

    def reload(self, models=None, text=None, timeout=20.0, **keys):
        """Write the configuration if one is given, SIGHUP, wait for what it says; True when it was taken."""
        if text is not None:
            self.write_config(text)
        elif models is not None or keys:
            self.configure(models, **keys)
        before = len(self.text)
        self.process.send_signal(signal.SIGHUP)
        said = wait_until(lambda: re.search(r"configuration (was not )?read again", self.text[before:]), timeout,
                          "the answer to SIGHUP")
        return said[1] is None

    # --- what it says ---

    @property
    def url(self):
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    @property
    def text(self):
        """All it has written, as it is."""
        return pathlib.Path(self.log_path).read_text(errors="replace")

    @property
    def log(self):
        """The lines that are JSON, oldest first."""
        lines = [line for line in self.text.split("\n")[:-1] if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def access(self, count=0, timeout=10.0):
        """The lines of the access log, oldest first; waits until there are at least `count`."""
        def lines():
            found = [line for line in self.log if line.get("area") == "access"]
            return found if len(found) >= count else None
        return wait_until(lines, timeout, f"{count} access lines") if count else lines()

    def access_of(self, answer, timeout=10.0):
        """The line of the access log about this answer."""
        def line():
            return next((line for line in self.access() if line["id"] == answer.get("x-request-id")), None)
        return wait_until(line, timeout, "the access line")

    def metrics(self):
        """{'name{label="x"}': value}"""
        answer = self.request("GET", "/metrics")
        assert answer.status == 200, answer
        lines = [line.rsplit(" ", 1) for line in answer.body.decode().split("\n") if line and line[0] != "#"]
        return {name: float(value) for name, value in lines}

    def resident_bytes(self):
        return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # --- talking to it ---

    def connect(self, timeout=20.0, receive_buffer=0):
        return Connection(self.port, timeout, receive_buffer, trust=self.trust)

    def converse(self, data, timeout=20.0):
        """Send these bytes, read to the end of the connection; all that came."""
        with self.connect(timeout) as connection:
            connection.send_unless_closed(data)
            return connection.read_all()

    def request(self, method, path, body=None, headers=(), timeout=20.0):
        """One request on a connection of its own."""
        with self.connect(timeout) as connection:
            connection.send_unless_closed(http(method, path, body, [*headers, "Connection: close"]))
            answer = connection.read_answer(method)
            assert not answer.after, answer.after
            return answer

    def chat(self, model, headers=(), timeout=20.0, **more):
        return self.request("POST", "/v1/chat/completions", chat_body(model, **more), headers, timeout)

    # --- the end ---

    def term(self):
        """SIGTERM, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout=40.0):
        """SIGTERM if it runs, and wait: insists on exit status 0 and on no report of a sanitizer."""
        if self.process.poll() is None:
            self.term()
        code = self.process.wait(timeout)
        reports = SANITIZER.findall(self.text)
        assert not reports, self.text[-20000:]
        assert code == 0, f"exit status {code}:\n{self.text[-8000:]}"

    def close(self):
        """Whatever it is doing, it is gone afterwards, and its folder with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
        finally:
            self.close()
