from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArchiveBlock(_message.Message):
    __slots__ = ["bytes", "compressed_bytes", "counts", "events", "first_time_ns", "last_time_ns", "offset"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    compressed_bytes: int
    counts: _containers.RepeatedCompositeFieldContainer[ArchiveCount]
    events: int
    first_time_ns: int
    last_time_ns: int
    offset: int
    def __init__(self, offset: _Optional[int] = ..., compressed_bytes: _Optional[int] = ..., bytes: _Optional[int] = ..., events: _Optional[int] = ..., first_time_ns: _Optional[int] = ..., last_time_ns: _Optional[int] = ..., counts: _Optional[_Iterable[_Union[ArchiveCount, _Mapping]]] = ...) -> None: ...

class ArchiveCount(_message.Message):
    __slots__ = ["count", "event"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    count: int
    event: str
    def __init__(self, event: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class ArchiveHeader(_message.Message):
    __slots__ = ["created", "created_ns", "format", "number", "selection", "series", "writer"]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    created: int
    created_ns: int
    format: int
    number: int
    selection: ArchiveSelection
    series: int
    writer: str
    def __init__(self, created: _Optional[int] = ..., format: _Optional[int] = ..., created_ns: _Optional[int] = ..., writer: _Optional[str] = ..., series: _Optional[int] = ..., number: _Optional[int] = ..., selection: _Optional[_Union[ArchiveSelection, _Mapping]] = ...) -> None: ...

class ArchiveIndex(_message.Message):
    __slots__ = ["blocks", "counts"]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[ArchiveBlock]
    counts: _containers.RepeatedCompositeFieldContainer[ArchiveCount]
    def __init__(self, blocks: _Optional[_Iterable[_Union[ArchiveBlock, _Mapping]]] = ..., counts: _Optional[_Iterable[_Union[ArchiveCount, _Mapping]]] = ...) -> None: ...

class ArchiveSelection(_message.Message):
    __slots__ = ["events", "from_ns", "messages", "sources", "until_ns", "without_payloads"]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedScalarFieldContainer[str]
    from_ns: int
    messages: _containers.RepeatedScalarFieldContainer[str]
    sources: _containers.RepeatedScalarFieldContainer[str]
    until_ns: int
    without_payloads: bool
    def __init__(self, sources: _Optional[_Iterable[str]] = ..., events: _Optional[_Iterable[str]] = ..., messages: _Optional[_Iterable[str]] = ..., without_payloads: bool = ..., from_ns: _Optional[int] = ..., until_ns: _Optional[int] = ...) -> None: ...
