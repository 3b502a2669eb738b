from peerobserver.v1 import primitives_pb2 as _primitives_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AlertEvidence(_message.Message):
    __slots__ = ["alert", "began_time_ns", "ended_time_ns", "fired_time_ns", "id", "labels", "noticed_time_ns", "peers", "peers_by", "runbook_url", "severity", "state", "summary", "value_first", "value_largest", "value_last", "values"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class LabelsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ALERT_FIELD_NUMBER: _ClassVar[int]
    BEGAN_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    FIRED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTICED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    PEERS_BY_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    RUNBOOK_URL_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    STATE_ENDED: AlertEvidence.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIRING: AlertEvidence.State
    STATE_UNSPECIFIED: AlertEvidence.State
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIRST_FIELD_NUMBER: _ClassVar[int]
    VALUE_LARGEST_FIELD_NUMBER: _ClassVar[int]
    VALUE_LAST_FIELD_NUMBER: _ClassVar[int]
    alert: str
    began_time_ns: int
    ended_time_ns: int
    fired_time_ns: int
    id: str
    labels: _containers.ScalarMap[str, str]
    noticed_time_ns: int
    peers: _containers.RepeatedCompositeFieldContainer[EvidencePeer]
    peers_by: str
    runbook_url: str
    severity: str
    state: AlertEvidence.State
    summary: str
    value_first: float
    value_largest: float
    value_last: float
    values: _containers.RepeatedCompositeFieldContainer[EvidenceValue]
    def __init__(self, state: _Optional[_Union[AlertEvidence.State, str]] = ..., id: _Optional[str] = ..., alert: _Optional[str] = ..., severity: _Optional[str] = ..., summary: _Optional[str] = ..., runbook_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., began_time_ns: _Optional[int] = ..., noticed_time_ns: _Optional[int] = ..., fired_time_ns: _Optional[int] = ..., ended_time_ns: _Optional[int] = ..., value_first: _Optional[float] = ..., value_largest: _Optional[float] = ..., value_last: _Optional[float] = ..., values: _Optional[_Iterable[_Union[EvidenceValue, _Mapping]]] = ..., peers_by: _Optional[str] = ..., peers: _Optional[_Iterable[_Union[EvidencePeer, _Mapping]]] = ...) -> None: ...

class EvidenceMessage(_message.Message):
    __slots__ = ["inbound", "size", "time_ns", "type"]
    INBOUND_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    inbound: bool
    size: int
    time_ns: int
    type: str
    def __init__(self, time_ns: _Optional[int] = ..., type: _Optional[str] = ..., inbound: bool = ..., size: _Optional[int] = ...) -> None: ...

class EvidencePeer(_message.Message):
    __slots__ = ["address", "after_firing", "closed_time_ns", "connection_type", "inbound", "info", "last_messages", "measure", "misbehaviour_reason", "misbehaviours", "peer_id", "received_messages"]
    class ReceivedMessagesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIRING_FIELD_NUMBER: _ClassVar[int]
    CLOSED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    INBOUND_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    MISBEHAVIOURS_FIELD_NUMBER: _ClassVar[int]
    MISBEHAVIOUR_REASON_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    address: str
    after_firing: bool
    closed_time_ns: int
    connection_type: _primitives_pb2.ConnectionType
    inbound: bool
    info: EvidencePeerInfo
    last_messages: _containers.RepeatedCompositeFieldContainer[EvidenceMessage]
    measure: float
    misbehaviour_reason: str
    misbehaviours: int
    peer_id: int
    received_messages: _containers.ScalarMap[str, int]
    def __init__(self, peer_id: _Optional[int] = ..., address: _Optional[str] = ..., inbound: bool = ..., connection_type: _Optional[_Union[_primitives_pb2.ConnectionType, str]] = ..., measure: _Optional[float] = ..., after_firing: bool = ..., received_messages: _Optional[_Mapping[str, int]] = ..., misbehaviours: _Optional[int] = ..., misbehaviour_reason: _Optional[str] = ..., closed_time_ns: _Optional[int] = ..., last_messages: _Optional[_Iterable[_Union[EvidenceMessage, _Mapping]]] = ..., info: _Optional[_Union[EvidencePeerInfo, _Mapping]] = ...) -> None: ...

class EvidencePeerInfo(_message.Message):
    __slots__ = ["addresses_rate_limited", "announcements_waiting", "blocks_in_flight", "bytes_of_unfinished_message", "bytes_of_unread_messages", "bytes_received", "bytes_sent", "connection_time", "mapped_as", "minimum_ping_seconds", "network", "seconds_since_last_send", "time_offset_seconds", "user_agent"]
    ADDRESSES_RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    BYTES_OF_UNFINISHED_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    BYTES_OF_UNREAD_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    MAPPED_AS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_PING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SECONDS_SINCE_LAST_SEND_FIELD_NUMBER: _ClassVar[int]
    TIME_OFFSET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    addresses_rate_limited: int
    announcements_waiting: int
    blocks_in_flight: int
    bytes_of_unfinished_message: int
    bytes_of_unread_messages: int
    bytes_received: int
    bytes_sent: int
    connection_time: int
    mapped_as: int
    minimum_ping_seconds: float
    network: str
    seconds_since_last_send: float
    time_offset_seconds: int
    user_agent: str
    def __init__(self, user_agent: _Optional[str] = ..., network: _Optional[str] = ..., mapped_as: _Optional[int] = ..., bytes_received: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., bytes_of_unread_messages: _Optional[int] = ..., bytes_of_unfinished_message: _Optional[int] = ..., blocks_in_flight: _Optional[int] = ..., time_offset_seconds: _Optional[int] = ..., minimum_ping_seconds: _Optional[float] = ..., addresses_rate_limited: _Optional[int] = ..., seconds_since_last_send: _Optional[float] = ..., announcements_waiting: _Optional[int] = ..., connection_time: _Optional[int] = ...) -> None: ...

class EvidenceValue(_message.Message):
    __slots__ = ["now", "per_second", "samples", "series", "usual"]
    NOW_FIELD_NUMBER: _ClassVar[int]
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    USUAL_FIELD_NUMBER: _ClassVar[int]
    now: float
    per_second: bool
    samples: int
    series: str
    usual: float
    def __init__(self, series: _Optional[str] = ..., per_second: bool = ..., now: _Optional[float] = ..., usual: _Optional[float] = ..., samples: _Optional[int] = ...) -> None: ...

class HostClock(_message.Message):
    __slots__ = ["estimated_error_ns", "max_error_ns", "offset_ns", "synchronized"]
    ESTIMATED_ERROR_NS_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_NS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    SYNCHRONIZED_FIELD_NUMBER: _ClassVar[int]
    estimated_error_ns: int
    max_error_ns: int
    offset_ns: int
    synchronized: bool
    def __init__(self, synchronized: bool = ..., offset_ns: _Optional[int] = ..., estimated_error_ns: _Optional[int] = ..., max_error_ns: _Optional[int] = ...) -> None: ...

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
    __slots__ = ["chain", "inbound_capacity", "pid", "replacements", "restarts", "start_time_ns", "version"]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    INBOUND_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    chain: str
    inbound_capacity: int
    pid: int
    replacements: int
    restarts: int
    start_time_ns: int
    version: str
    def __init__(self, pid: _Optional[int] = ..., chain: _Optional[str] = ..., version: _Optional[str] = ..., start_time_ns: _Optional[int] = ..., restarts: _Optional[int] = ..., replacements: _Optional[int] = ..., inbound_capacity: _Optional[int] = ...) -> None: ...

class Observer(_message.Message):
    __slots__ = ["alert_evidence", "status"]
    ALERT_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    alert_evidence: AlertEvidence
    status: Status
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., alert_evidence: _Optional[_Union[AlertEvidence, _Mapping]] = ...) -> None: ...

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
    __slots__ = ["host_clock", "losses", "node", "queues", "sources", "tracepoints", "version"]
    HOST_CLOCK_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    TRACEPOINTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    host_clock: HostClock
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    node: NodeStatus
    queues: _containers.RepeatedCompositeFieldContainer[QueueStatus]
    sources: _containers.RepeatedCompositeFieldContainer[SourceStatus]
    tracepoints: _containers.RepeatedCompositeFieldContainer[TracepointStatus]
    version: str
    def __init__(self, version: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[SourceStatus, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., node: _Optional[_Union[NodeStatus, _Mapping]] = ..., queues: _Optional[_Iterable[_Union[QueueStatus, _Mapping]]] = ..., tracepoints: _Optional[_Iterable[_Union[TracepointStatus, _Mapping]]] = ..., host_clock: _Optional[_Union[HostClock, _Mapping]] = ...) -> None: ...

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
