from peerobserver.v1 import primitives_pb2 as _primitives_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClosedConnection(_message.Message):
    __slots__ = ["conn", "time_established"]
    CONN_FIELD_NUMBER: _ClassVar[int]
    TIME_ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    conn: Connection
    time_established: int
    def __init__(self, conn: _Optional[_Union[Connection, _Mapping]] = ..., time_established: _Optional[int] = ...) -> None: ...

class Connection(_message.Message):
    __slots__ = ["addr", "conn_type", "connection_type", "network", "peer_id"]
    ADDR_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONN_TYPE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    addr: str
    conn_type: _primitives_pb2.ConnType
    connection_type: _primitives_pb2.ConnectionType
    network: int
    peer_id: int
    def __init__(self, peer_id: _Optional[int] = ..., addr: _Optional[str] = ..., conn_type: _Optional[_Union[_primitives_pb2.ConnType, str]] = ..., network: _Optional[int] = ..., connection_type: _Optional[_Union[_primitives_pb2.ConnectionType, str]] = ...) -> None: ...

class ConnectionEvent(_message.Message):
    __slots__ = ["closed", "inbound", "inbound_evicted", "misbehaving", "outbound"]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    INBOUND_EVICTED_FIELD_NUMBER: _ClassVar[int]
    INBOUND_FIELD_NUMBER: _ClassVar[int]
    MISBEHAVING_FIELD_NUMBER: _ClassVar[int]
    OUTBOUND_FIELD_NUMBER: _ClassVar[int]
    closed: ClosedConnection
    inbound: InboundConnection
    inbound_evicted: EvictedInboundConnection
    misbehaving: MisbehavingConnection
    outbound: OutboundConnection
    def __init__(self, closed: _Optional[_Union[ClosedConnection, _Mapping]] = ..., inbound_evicted: _Optional[_Union[EvictedInboundConnection, _Mapping]] = ..., inbound: _Optional[_Union[InboundConnection, _Mapping]] = ..., outbound: _Optional[_Union[OutboundConnection, _Mapping]] = ..., misbehaving: _Optional[_Union[MisbehavingConnection, _Mapping]] = ...) -> None: ...

class EvictedInboundConnection(_message.Message):
    __slots__ = ["conn", "time_established"]
    CONN_FIELD_NUMBER: _ClassVar[int]
    TIME_ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    conn: Connection
    time_established: int
    def __init__(self, conn: _Optional[_Union[Connection, _Mapping]] = ..., time_established: _Optional[int] = ...) -> None: ...

class InboundConnection(_message.Message):
    __slots__ = ["conn", "existing_connections"]
    CONN_FIELD_NUMBER: _ClassVar[int]
    EXISTING_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    conn: Connection
    existing_connections: int
    def __init__(self, conn: _Optional[_Union[Connection, _Mapping]] = ..., existing_connections: _Optional[int] = ...) -> None: ...

class MisbehavingConnection(_message.Message):
    __slots__ = ["id", "message"]
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    message: str
    def __init__(self, id: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class OutboundConnection(_message.Message):
    __slots__ = ["conn", "existing_connections"]
    CONN_FIELD_NUMBER: _ClassVar[int]
    EXISTING_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    conn: Connection
    existing_connections: int
    def __init__(self, conn: _Optional[_Union[Connection, _Mapping]] = ..., existing_connections: _Optional[int] = ...) -> None: ...
