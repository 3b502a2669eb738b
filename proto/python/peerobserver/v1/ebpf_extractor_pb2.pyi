from peerobserver.v1 import connection_pb2 as _connection_pb2
from peerobserver.v1 import mempool_pb2 as _mempool_pb2
from peerobserver.v1 import message_pb2 as _message_pb2
from peerobserver.v1 import utxocache_pb2 as _utxocache_pb2
from peerobserver.v1 import validation_pb2 as _validation_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EbpfExtractor(_message.Message):
    __slots__ = ["connection", "hit", "mempool", "message", "utxo_cache", "validation"]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    MEMPOOL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UTXO_CACHE_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    connection: _connection_pb2.ConnectionEvent
    hit: TracepointHit
    mempool: _mempool_pb2.MempoolEvent
    message: _message_pb2.MessageEvent
    utxo_cache: _utxocache_pb2.UtxoCacheEvent
    validation: _validation_pb2.ValidationEvent
    def __init__(self, message: _Optional[_Union[_message_pb2.MessageEvent, _Mapping]] = ..., connection: _Optional[_Union[_connection_pb2.ConnectionEvent, _Mapping]] = ..., mempool: _Optional[_Union[_mempool_pb2.MempoolEvent, _Mapping]] = ..., validation: _Optional[_Union[_validation_pb2.ValidationEvent, _Mapping]] = ..., utxo_cache: _Optional[_Union[_utxocache_pb2.UtxoCacheEvent, _Mapping]] = ..., hit: _Optional[_Union[TracepointHit, _Mapping]] = ...) -> None: ...

class TracepointHit(_message.Message):
    __slots__ = ["cpu", "pid", "thread_cpu_time_ns", "tid"]
    CPU_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    THREAD_CPU_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    pid: int
    thread_cpu_time_ns: int
    tid: int
    def __init__(self, pid: _Optional[int] = ..., tid: _Optional[int] = ..., cpu: _Optional[int] = ..., thread_cpu_time_ns: _Optional[int] = ...) -> None: ...
