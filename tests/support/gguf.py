# SPDX-License-Identifier: Apache-2.0
"""Writes a small model of random weights in the format GGUF, version 3, of the architecture that llama.cpp calls llama.

    gguf.write(folder / "a.gguf", seed=1)

It knows bytes and a few words, says words only, and never comes to an end by itself: an answer is as long as it may be.
Another seed is another text. Standard library only.

The file: magic, version, counts; keys with typed values; names, shapes and places of the tensors; then their numbers,
each from a place that is a multiple of 32.
"""

import array
import itertools
import pathlib
import random
import struct

UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9  # types of values
UNKNOWN, CONTROL, NORMAL, BYTE = 2, 3, 1, 6  # types of tokens
ALIGNMENT = 32
LOUD = 10.0  # how much more likely a word is than a byte
WORDS = "▁the ▁of ▁and ▁a ▁to ▁in ▁is ▁was ▁for ▁on ▁as ▁with ▁by ▁at ▁from ▁it ▁an ▁be ▁are ▁this e t a o n i s r".split()
TEMPLATE = ("{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


_PACK = {UINT32: lambda v: struct.pack("<I", v), INT32: lambda v: struct.pack("<i", v),
         FLOAT32: lambda v: struct.pack("<f", v), STRING: _text}


def _key(name, kind, value):
    return _text(name) + struct.pack("<I", kind) + _PACK[kind](value)


def _keys(name, kind, values):
    return _text(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(map(_PACK[kind], values))


def _vocabulary():
    """(token, type) of each: three that mean something, the bytes, the words."""
    return ([("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)] +
            [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] + [(word, NORMAL) for word in ["▁", *WORDS]])


def _metadata(name, width, layers, heads, context, vocabulary):
    tokens, kinds = zip(*vocabulary)
    return [
        _key("general.architecture", STRING, "llama"),
        _key("general.name", STRING, name),
        _key("general.alignment", UINT32, ALIGNMENT),
        _key("llama.context_length", UINT32, context),
        _key("llama.embedding_length", UINT32, width),
        _key("llama.feed_forward_length", UINT32, 2 * width),
        _key("llama.block_count", UINT32, layers),
        _key("llama.attention.head_count", UINT32, heads),
        _key("llama.attention.head_count_kv", UINT32, heads),
        _key("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        _key("llama.rope.dimension_count", UINT32, width // heads),
        _key("llama.vocab_size", UINT32, len(tokens)),
        _key("tokenizer.ggml.model", STRING, "llama"),
        _keys("tokenizer.ggml.tokens", STRING, tokens),
        _keys("tokenizer.ggml.scores", FLOAT32, [-float(i) if kind == NORMAL else 0.0 for i, kind in enumerate(kinds)]),
        _keys("tokenizer.ggml.token_type", INT32, kinds),
        _key("tokenizer.ggml.unknown_token_id", UINT32, 0),
        _key("tokenizer.ggml.bos_token_id", UINT32, 1),
        _key("tokenizer.ggml.eos_token_id", UINT32, 2),
        _key("tokenizer.chat_template", STRING, TEMPLATE),
    ]


def _tensors(chance, width, layers, vocabulary):
    """(name, shape, numbers) of each; the first dimension of a shape is the one that runs fastest."""
    def matrix(*shape):
        return shape, array.array("f", [chance.uniform(-0.3, 0.3) for _ in range(shape[0] * shape[1])])

    def ones():
        return (width,), array.array("f", itertools.repeat(1.0, width))

    shape, numbers = matrix(width, len(vocabulary))
    yield "token_embd.weight", shape, numbers
    yield "output_norm.weight", *ones()
    shape, numbers = matrix(width, len(vocabulary))
    for token, (_, kind) in enumerate(vocabulary):
        for i in range(token * width, (token + 1) * width):
            numbers[i] *= LOUD if kind == NORMAL else 0.0
    yield "output.weight", shape, numbers
    for layer in range(layers):
        yield f"blk.{layer}.attn_norm.weight", *ones()
        for part in "qkv":
            yield f"blk.{layer}.attn_{part}.weight", *matrix(width, width)
        yield f"blk.{layer}.attn_output.weight", *matrix(width, width)
        yield f"blk.{layer}.ffn_norm.weight", *ones()
        yield f"blk.{layer}.ffn_gate.weight", *matrix(width, 2 * width)
        yield f"blk.{layer}.ffn_up.weight", *matrix(width, 2 * width)
        yield f"blk.{layer}.ffn_down.weight", *matrix(2 * width, width)


def _padding(length):
    return bytes(-length % ALIGNMENT)


def write(path, seed=1, width=64, layers=2, heads=4, context=32768):
    """The model at `path`; returns the path."""
    vocabulary = _vocabulary()
    keys = _metadata(pathlib.Path(path).stem, width, layers, heads, context, vocabulary)
    places, numbers, at = [], [], 0
    for name, shape, values in _tensors(random.Random(seed), width, layers, vocabulary):
        places.append(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, at))
        data = values.tobytes()
        numbers += [data, _padding(len(data))]
        at += len(data) + len(numbers[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(places), len(keys)) + b"".join(keys + places)
    pathlib.Path(path).write_bytes(b"".join([head, _padding(len(head)), *numbers]))
    return path
