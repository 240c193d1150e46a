"""Makes classes of protobuf messages from their fields, written down where they are used.

So no generated code is needed: only the fields that are read or written are there, with the numbers
and types of the published definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPEATED: Final = 3
_OPTIONAL: Final = 1


class Field(NamedTuple):
    """One field: its type is protobuf's word, or another message's name."""

    name: str
    number: int
    type: str
    is_repeated: bool = False


def message_class(
    file: str, package: str, messages: Mapping[str, tuple[Field, ...]], name: str
) -> Any:
    """Returns the class of one message.

    Args:
        file: what to call the definition.
        package: the messages' package.
        messages: the fields of each message by its name.
        name: of the message that is wanted.
    """
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto2")
    for message, fields in messages.items():
        added = described.message_type.add(name=message)
        for field in fields:
            _describe(added, field, package if field.type in messages else "")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _describe(message: Any, field: Field, package: str) -> None:
    described = message.field.add(name=field.name, number=field.number)
    described.label = _REPEATED if field.is_repeated else _OPTIONAL
    if package:
        described.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        described.type_name = f".{package}.{field.type}"
    else:
        described.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{field.type.upper()}")
