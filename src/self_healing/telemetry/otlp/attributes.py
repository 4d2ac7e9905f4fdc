"""The attributes of spans, out of their bytes: few are new, so most are found again and made into nothing anew.

To make a Python object of each attribute and of each of their values takes longer than all else that is done with a
span. So spans are parsed with their attributes left as bytes, and those bytes are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import DESCRIPTOR as SERVICE
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import DESCRIPTOR as COMMON
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import DESCRIPTOR as RESOURCE
from opentelemetry.proto.trace.v1.trace_pb2 import DESCRIPTOR as TRACE

from self_healing.errors import Undecodable

KNOWN_MAX: Final = 1 << 14
"""So many attributes are remembered; then all are forgotten, and the usual ones are soon known again."""

KNOWN_MAX_BYTES: Final = 256
"""How long one may be to be remembered: with KNOWN_MAX and what is made of them, 12 MB at most."""


class Value(msgspec.Struct, gc=False):
    """A text, number or boolean that reads like protobuf's ``AnyValue``."""

    kind: str
    string_value: str = ""
    int_value: int = 0
    double_value: float = 0.0
    bool_value: bool = False

    def WhichOneof(self, _: str) -> str:
        """As protobuf calls it: the field that is set."""
        return self.kind


class Attribute(msgspec.Struct, gc=False):
    """An attribute that reads like protobuf's ``KeyValue``."""

    key: str
    value: Value


_SCALARS: Final = frozenset(("string_value", "int_value", "double_value", "bool_value"))


class _Known(dict[bytes, KeyValue]):
    """Attributes by their bytes; those that have not been seen are read, and then known."""

    def __missing__(self, raw: bytes) -> KeyValue:
        if len(raw) > KNOWN_MAX_BYTES:
            return _parsed(raw)
        pair = _short_text(raw) or _slim(_parsed(raw))
        if len(self) >= KNOWN_MAX:
            self.clear()
        self[raw] = pair
        return pair


_KNOWN: Final = _Known()


def known_all(raws: Sequence[Sequence[bytes]]) -> list[Sequence[KeyValue]]:
    """The attributes that each of several spans has in its bytes.

    Raises:
        Undecodable: some are no attribute.
    """
    known = _KNOWN.__getitem__
    return [[*map(known, raw)] for raw in raws]


def _short_text(raw: bytes) -> KeyValue | None:
    """An attribute that is a text, each of whose parts is so short that its length is one byte; None for any other.

    ::

        0x0A, length, key, 0x12, length + 2, 0x0A, length, text
    """
    size = len(raw)
    if size < 8 or raw[0] != 0x0A or (after := raw[1] + 2) + 4 > size or raw[1] >= 0x80:
        return None
    text = size - after - 4
    if text >= 0x7E or raw[after : after + 4] != bytes((0x12, text + 2, 0x0A, text)):
        return None
    try:
        key, said = str(raw[2:after], "utf-8"), str(raw[after + 4 :], "utf-8")
    except UnicodeDecodeError:  # protobuf says what is wrong
        return None
    return cast("KeyValue", Attribute(key, Value("string_value", said)))


def _slim(pair: KeyValue) -> KeyValue:
    kind = pair.value.WhichOneof("value")
    if kind is None or kind not in _SCALARS:
        return pair
    return cast("KeyValue", Attribute(pair.key, Value(kind, **{kind: getattr(pair.value, kind)})))


def _parsed(raw: bytes) -> KeyValue:
    try:
        return KeyValue.FromString(raw)
    except DecodeError as error:
        raise Undecodable(f"the body has an attribute of a span that is none: {error}") from error


def _spans_with_raw_attributes() -> type[ExportTraceServiceRequest]:
    """The request as it is, but for the attributes of its spans, which stay bytes: those look the same on the wire."""
    pool = DescriptorPool()
    for file in (COMMON, RESOURCE, TRACE, SERVICE):
        described = FileDescriptorProto()
        file.CopyToProto(described)
        for message in described.message_type:
            for field in message.field:
                if (message.name, field.name) == ("Span", "attributes"):
                    field.type = FieldDescriptorProto.TYPE_BYTES
                    field.ClearField("type_name")
        pool.AddSerializedFile(described.SerializeToString())
    name = ExportTraceServiceRequest.DESCRIPTOR.full_name
    return cast("type[ExportTraceServiceRequest]", GetMessageClass(pool.FindMessageTypeByName(name)))


RawTraceRequest: Final = _spans_with_raw_attributes()
"""An ``ExportTraceServiceRequest`` whose spans have their attributes in bytes, for :func:`known_all` to read."""
