from peerobserver.v1 import ebpf_extractor_pb2 as _ebpf_extractor_pb2
from peerobserver.v1 import ipc_extractor_pb2 as _ipc_extractor_pb2
from peerobserver.v1 import log_extractor_pb2 as _log_extractor_pb2
from peerobserver.v1 import observer_pb2 as _observer_pb2
from peerobserver.v1 import p2p_extractor_pb2 as _p2p_extractor_pb2
from peerobserver.v1 import rpc_extractor_pb2 as _rpc_extractor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ["boot_id", "ebpf_extractor", "ipc_extractor", "kernel_time_ns", "log_extractor", "node_name", "node_start_time_ns", "observer", "p2p_extractor", "receive_time_ns", "rpc_extractor", "sequence", "timestamp"]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    EBPF_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    IPC_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    KERNEL_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LOG_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_START_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OBSERVER_FIELD_NUMBER: _ClassVar[int]
    P2P_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    RPC_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    boot_id: int
    ebpf_extractor: _ebpf_extractor_pb2.EbpfExtractor
    ipc_extractor: _ipc_extractor_pb2.IpcExtractor
    kernel_time_ns: int
    log_extractor: _log_extractor_pb2.LogExtractor
    node_name: str
    node_start_time_ns: int
    observer: _observer_pb2.Observer
    p2p_extractor: _p2p_extractor_pb2.P2pExtractor
    receive_time_ns: int
    rpc_extractor: _rpc_extractor_pb2.RpcExtractor
    sequence: int
    timestamp: int
    def __init__(self, ebpf_extractor: _Optional[_Union[_ebpf_extractor_pb2.EbpfExtractor, _Mapping]] = ..., rpc_extractor: _Optional[_Union[_rpc_extractor_pb2.RpcExtractor, _Mapping]] = ..., p2p_extractor: _Optional[_Union[_p2p_extractor_pb2.P2pExtractor, _Mapping]] = ..., log_extractor: _Optional[_Union[_log_extractor_pb2.LogExtractor, _Mapping]] = ..., ipc_extractor: _Optional[_Union[_ipc_extractor_pb2.IpcExtractor, _Mapping]] = ..., observer: _Optional[_Union[_observer_pb2.Observer, _Mapping]] = ..., timestamp: _Optional[int] = ..., node_name: _Optional[str] = ..., boot_id: _Optional[int] = ..., sequence: _Optional[int] = ..., kernel_time_ns: _Optional[int] = ..., receive_time_ns: _Optional[int] = ..., node_start_time_ns: _Optional[int] = ...) -> None: ...
