# SPDX-License-Identifier: Apache-2.0
"""A client of vllmgw-server's control of one model, for notebooks and scripts. Standard library only.

    from vllmgw_client import VLLMProxyClient

    proxy = VLLMProxyClient(proxy_url="http://gpu-node:8224", model2spec={"org/model": "--tensor-parallel-size 1"})
    proxy.switch("org/model")
    client = proxy.get_openai_client()

get_openai_client() gives the `openai` package's client when that is installed. Without it a small one of the same
shape does: chat.completions, completions, embeddings, models; create(..., stream=True) iterates over the events.
"""

import json
import os
import types
import urllib.error
import urllib.parse
import urllib.request


class VLLMProxyError(RuntimeError):
    """The gateway said no. status: of HTTP, None without an answer; body: what it said, parsed if it is JSON."""

    def __init__(self, message, status=None, body=None):
        super().__init__(message)
        self.status, self.body = status, body


def _parse(data):
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def _explain(status, body):
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else body
    return f"{status}: {message}"


def _open(url, api_key, body, timeout):
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(url, data, headers)
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            said = _parse(error.read())
        raise VLLMProxyError(_explain(error.code, said), error.code, said) from None
    except OSError as error:
        raise VLLMProxyError(f"{url}: {getattr(error, 'reason', error)}") from error


class VLLMProxyClient:
    """One gateway and what it may run. model2spec: from a model's name to the options of its `vllm serve`.
    api_key: an administrator's, where one is needed; else $VLLMGW_API_KEY. timeout: seconds of a question;
    switch_timeout: seconds until a model serves."""

    def __init__(self, proxy_url, model2spec=None, api_key=None, timeout=60.0, switch_timeout=3600.0):
        self.proxy_url = proxy_url.rstrip("/")
        self.model2spec = dict(model2spec or {})
        self.api_key = api_key or os.environ.get("VLLMGW_API_KEY")
        self.timeout, self.switch_timeout = timeout, switch_timeout

    def _ask(self, path, body=None, timeout=None):
        with _open(self.proxy_url + path, self.api_key, body, timeout or self.timeout) as answer:
            return _parse(answer.read())

    def status(self):
        """{"running", "pid", "model_spec", "vllm_base", "log_path"}"""
        return self._ask("/status")

    def switch(self, model, spec=None):
        """Have this model run instead of the present one, and wait until it serves. spec: its options; None: those
        of model2spec. Returns {"status", "pid", "model_spec", "log_path"}."""
        if spec is None:
            if model not in self.model2spec:
                raise KeyError(f"{model!r} is not in model2spec: {', '.join(sorted(self.model2spec)) or 'it is empty'}")
            spec = self.model2spec[model]
        return self._ask("/switch", {"model_spec": f"{model}\n{spec}" if spec else model}, self.switch_timeout)

    def get_model_name(self):
        """What the running engine calls its model; None when there is none."""
        try:
            models = self._ask("/v1/models")["data"]
        except VLLMProxyError as error:
            if error.status == 503:
                return None
            raise
        return models[0]["id"] if models else None

    def get_log(self, lines=None):
        """The engine's output: all of it, or its last lines."""
        path = "/logs/current" if lines is None else "/logs/tail?" + urllib.parse.urlencode({"lines": int(lines)})
        with _open(self.proxy_url + path, self.api_key, None, self.timeout) as answer:
            return answer.read().decode(errors="replace")

    def get_openai_client(self, **options):
        """A client of the OpenAI API in front of the running model; options are the openai package's own."""
        try:
            from openai import OpenAI
        except ImportError:
            return SmallClient(self.proxy_url + "/v1", self.api_key, options.get("timeout", 600.0))
        return OpenAI(base_url=self.proxy_url + "/v1", api_key=self.api_key or "unused", **options)


# --- without the openai package ---

def _objects(value):
    """Dictionaries as objects with attributes."""
    if isinstance(value, dict):
        return types.SimpleNamespace(**{key: _objects(item) for key, item in value.items()})
    return [_objects(item) for item in value] if isinstance(value, list) else value


def _events(answer):
    """The events of a stream as objects; an error in the middle is raised."""
    with answer:
        for line in answer:
            text = line.decode().strip()
            if text == "data: [DONE]":
                return
            if text.startswith("data: "):
                event = json.loads(text[6:])
                if "error" in event:
                    raise VLLMProxyError(_explain("stream", event), body=event)
                yield _objects(event)
    raise VLLMProxyError("the stream ended before it was over")


class _Endpoint:
    def __init__(self, client, path):
        self._client, self._path = client, path

    def create(self, stream=False, **body):
        answer = self._client.open(self._path, {**body, **({"stream": True} if stream else {})})
        if stream:
            return _events(answer)
        with answer:
            return _objects(json.loads(answer.read()))

    def list(self):
        with self._client.open(self._path, None) as answer:
            return _objects(json.loads(answer.read()))


class SmallClient:
    """The part of the openai package's client that most notebooks use."""

    def __init__(self, base_url, api_key=None, timeout=600.0):
        self.base_url, self.api_key, self.timeout = base_url, api_key, timeout
        self.chat = types.SimpleNamespace(completions=_Endpoint(self, "/chat/completions"))
        self.completions = _Endpoint(self, "/completions")
        self.embeddings = _Endpoint(self, "/embeddings")
        self.models = _Endpoint(self, "/models")

    def open(self, path, body):
        return _open(self.base_url + path, self.api_key, body, self.timeout)
