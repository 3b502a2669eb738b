from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Loss(_message.Message):
    __slots__ = ["count", "reason", "source", "stage"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    count: int
    reason: str
    source: str
    stage: str
    def __init__(self, source: _Optional[str] = ..., stage: _Optional[str] = ..., reason: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ["chain", "pid", "replacements", "restarts", "start_time_ns", "version"]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    chain: str
    pid: int
    replacements: int
    restarts: int
    start_time_ns: int
    version: str
    def __init__(self, pid: _Optional[int] = ..., chain: _Optional[str] = ..., version: _Optional[str] = ..., start_time_ns: _Optional[int] = ..., restarts: _Optional[int] = ..., replacements: _Optional[int] = ...) -> None: ...

class Observer(_message.Message):
    __slots__ = ["status"]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: Status
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class QueueStatus(_message.Message):
    __slots__ = ["bytes", "capacity_bytes", "events", "sink"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SINK_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    capacity_bytes: int
    events: int
    sink: str
    def __init__(self, sink: _Optional[str] = ..., events: _Optional[int] = ..., bytes: _Optional[int] = ..., capacity_bytes: _Optional[int] = ...) -> None: ...

class SourceStatus(_message.Message):
    __slots__ = ["attempts", "detail", "events", "failures", "last_event_time_ns", "source", "up"]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    detail: str
    events: int
    failures: int
    last_event_time_ns: int
    source: str
    up: bool
    def __init__(self, source: _Optional[str] = ..., up: bool = ..., detail: _Optional[str] = ..., events: _Optional[int] = ..., attempts: _Optional[int] = ..., failures: _Optional[int] = ..., last_event_time_ns: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ["losses", "node", "queues", "sources", "tracepoints", "version"]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    TRACEPOINTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    node: NodeStatus
    queues: _containers.RepeatedCompositeFieldContainer[QueueStatus]
    sources: _containers.RepeatedCompositeFieldContainer[SourceStatus]
    tracepoints: _containers.RepeatedCompositeFieldContainer[TracepointStatus]
    version: str
    def __init__(self, version: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[SourceStatus, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., node: _Optional[_Union[NodeStatus, _Mapping]] = ..., queues: _Optional[_Iterable[_Union[QueueStatus, _Mapping]]] = ..., tracepoints: _Optional[_Iterable[_Union[TracepointStatus, _Mapping]]] = ...) -> None: ...

class TracepointStatus(_message.Message):
    __slots__ = ["argument_faults", "attached", "detail", "filtered", "hits", "lost", "name", "payload_faults", "payload_shed", "payload_truncated", "records", "strings_cut"]
    ARGUMENT_FAULTS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FAULTS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SHED_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_CUT_FIELD_NUMBER: _ClassVar[int]
    argument_faults: int
    attached: bool
    detail: str
    filtered: int
    hits: int
    lost: int
    name: str
    payload_faults: int
    payload_shed: int
    payload_truncated: int
    records: int
    strings_cut: int
    def __init__(self, name: _Optional[str] = ..., attached: bool = ..., detail: _Optional[str] = ..., hits: _Optional[int] = ..., records: _Optional[int] = ..., filtered: _Optional[int] = ..., lost: _Optional[int] = ..., payload_shed: _Optional[int] = ..., payload_truncated: _Optional[int] = ..., payload_faults: _Optional[int] = ..., argument_faults: _Optional[int] = ..., strings_cut: _Optional[int] = ...) -> None: ...
