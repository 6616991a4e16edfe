"""Calls to fuzz with, drawn by hypothesis from the descriptors of every RPC, so that new RPCs are covered.

A request is valid, nearly valid (some fields are drawn again), or the bytes of either, mutated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2

DEPTH = 4
LONGEST = 3
"""Values of a repeated field."""
INTEGERS = st.sampled_from([0, 1, 2, 3, 7, 16, 255, 4096, 65_536, 2**31 - 1, 2**31, 2**32 - 1])
FLOATS = st.sampled_from([0.0, -0.0, 0.3, 0.5, 1.0, 1.5, -1.0, 1e-45, 1e38, float("nan"), float("inf")])
TEXTS = st.sampled_from(
    ["", "How many bars?", "<|image_pad|>", "\x00", "a" * 5000, "\u202e\U0001f600", "%s%n{0}", "../../etc"]
)
FORMATS = {
    "json_schema": st.sampled_from(
        ['{"type":"boolean"}', '{"type":"array","items":{"$ref":"#"}}', "{", "[]", '{"enum":[1,2]}', "null"]
    ),
    "regex": st.sampled_from(["[0-9]{1,3}", "(a|b", "(a*)*b", "[0-9]{1,99999}", "\\p{L}+", "(?=x)"]),
}


@dataclass(frozen=True)
class FuzzCall:
    """A call as a proxy makes it that knows nothing of the contract; `leaves` cancels it after a message."""

    method: MethodDescriptor
    requests: Sequence[bytes]
    leaves: bool

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


@dataclass(frozen=True)
class Known:
    """Values that exist: `digests` of stored images, `files` of images."""

    digests: Sequence[str]
    files: Sequence[bytes]


def calls(methods: Sequence[MethodDescriptor], known: Known) -> st.SearchStrategy[FuzzCall]:
    return st.sampled_from(methods).flatmap(lambda method: _calls_of(method, known))


def _calls_of(method: MethodDescriptor, known: Known) -> st.SearchStrategy[FuzzCall]:
    request = st.one_of(_valid(method, known), _drawn(method.input_type, known, DEPTH)).map(_bytes)
    sent = st.one_of(request, request, mutated(request), st.binary(max_size=40))
    usual = st.lists(sent, min_size=1, max_size=LONGEST if method.client_streaming else 1)
    return st.builds(
        FuzzCall,
        st.just(method),
        st.one_of(usual, usual, usual, st.lists(sent, max_size=LONGEST)),
        st.sampled_from([False] * 7 + [True]),
    )


def mutated(original: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    change = st.tuples(st.integers(0, 2**16), st.sampled_from([0, 1, 1, 1, 4, 40]), st.binary(max_size=6))
    return st.builds(_changed, original, st.lists(change, min_size=1, max_size=4))


def _changed(data: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, count, new in changes:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + count :]
    return data


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _valid(method: MethodDescriptor, known: Known) -> st.SearchStrategy[Message]:
    """A request that is served, at times with a field drawn again."""
    digest, data = st.sampled_from(known.digests), st.sampled_from(known.files)
    base = st.builds(_served, st.just(method.input_type), digest, data)
    again = st.lists(_drawn(method.input_type, known, DEPTH), max_size=1)
    return st.builds(_merged, base, again)


def _served(kind: Descriptor, digest: str, data: bytes) -> Message:
    """The smallest request that the service serves, from the names of the message's fields."""
    image = decoder_pb2.Image(digest=digest) if len(data) % 2 else decoder_pb2.Image(data=data)
    asked = decoder_pb2.GenerateRequest(
        messages=[
            decoder_pb2.Message(
                role=decoder_pb2.ROLE_USER,
                parts=[decoder_pb2.Part(image=image), decoder_pb2.Part(text="How many?")],
            )
        ],
        sampling=decoder_pb2.Sampling(max_new_tokens=2),
    )
    values: dict[str, Any] = {"request": asked, "digest": digest, "data": data, "width": 64, "height": 64}
    values |= {"encode": encoder_pb2.EncodeRequest(digest=digest), "tenant": "somebody"}
    if kind.full_name == asked.DESCRIPTOR.full_name:
        return asked
    names = kind.fields_by_name.keys() & values.keys()
    return message_factory.GetMessageClass(kind)(**{name: values[name] for name in names})


def _merged(base: Message, again: Sequence[Message]) -> Message:
    for message in again:
        base.MergeFrom(message)
    return base


def _drawn(kind: Descriptor, known: Known, depth: int) -> st.SearchStrategy[Message]:
    """A message of the kind whose fields have values of their types, and of its neighbours at the borders."""
    values = {field.name: _value(field, known, depth) for field in kind.fields if _is_open(field, depth)}
    some = st.fixed_dictionaries({}, optional=values)
    return st.builds(_made, st.just(message_factory.GetMessageClass(kind)), some)


def _made(kind: Any, values: dict[str, Any]) -> Message:
    """Fields of a oneof replace each other, as on the wire."""
    message: Message = kind()
    for name, value in values.items():
        message.MergeFrom(kind(**{name: value}))
    return message


def _is_open(field: FieldDescriptor, depth: int) -> bool:
    return field.message_type is None or depth > 0


def _value(field: FieldDescriptor, known: Known, depth: int) -> st.SearchStrategy[Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = (_single(kind.fields_by_name[name], known, depth) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=LONGEST)
    one = _single(field, known, depth)
    return st.lists(one, max_size=LONGEST) if field.is_repeated else one


def _single(field: FieldDescriptor, known: Known, depth: int) -> st.SearchStrategy[Any]:
    kind = field.message_type
    if kind is not None:
        return st.deferred(lambda: _drawn(kind, known, depth - 1))
    if field.enum_type is not None:
        return st.sampled_from([*(value.number for value in field.enum_type.values), 99, 2**31 - 1])
    if "digest" in field.name:
        return st.sampled_from([*known.digests, "sha256:" + "00" * 32, "sha256:", "md5:00", "\x00"])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES
        data = st.one_of(st.sampled_from(known.files), mutated(st.sampled_from(known.files)))
        return data if is_bytes else FORMATS.get(field.name, TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return FLOATS
    return INTEGERS.filter(lambda number: number < 2**31 or field.cpp_type != FieldDescriptor.CPPTYPE_INT32)


def told(call: FuzzCall) -> dict[str, Any]:
    """A call as JSON, for the file of a failing input."""
    kind = message_factory.GetMessageClass(call.method.input_type)
    return {
        "method": call.path,
        "leaves": call.leaves,
        "requests": [_as_json(kind, r) for r in call.requests],
    }


def _as_json(kind: Any, request: bytes) -> dict[str, Any]:
    try:
        content = json_format.MessageToDict(kind.FromString(request))
    except Exception:  # mutated bytes, or a message that JSON cannot hold
        content = None
    return {"hex": request.hex(), "message": content}
