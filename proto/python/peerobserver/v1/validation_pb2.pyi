from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BlockConnected(_message.Message):
    __slots__ = ["connection_time", "hash", "height", "inputs", "sigops", "transactions"]
    CONNECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SIGOPS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    connection_time: int
    hash: bytes
    height: int
    inputs: int
    sigops: int
    transactions: int
    def __init__(self, hash: _Optional[bytes] = ..., height: _Optional[int] = ..., transactions: _Optional[int] = ..., inputs: _Optional[int] = ..., sigops: _Optional[int] = ..., connection_time: _Optional[int] = ...) -> None: ...

class BlockHeaderSeen(_message.Message):
    __slots__ = ["hash", "height", "peer_id", "via_compact_block"]
    HASH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    VIA_COMPACT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    height: int
    peer_id: int
    via_compact_block: bool
    def __init__(self, hash: _Optional[bytes] = ..., height: _Optional[int] = ..., peer_id: _Optional[int] = ..., via_compact_block: bool = ...) -> None: ...

class CompactBlockReconstructed(_message.Message):
    __slots__ = ["extra_pool_transactions", "hash", "mempool_transactions", "peer_id", "prefilled_transactions", "requested_bytes", "requested_transactions"]
    EXTRA_POOL_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    MEMPOOL_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    PREFILLED_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    extra_pool_transactions: int
    hash: bytes
    mempool_transactions: int
    peer_id: int
    prefilled_transactions: int
    requested_bytes: int
    requested_transactions: int
    def __init__(self, hash: _Optional[bytes] = ..., peer_id: _Optional[int] = ..., prefilled_transactions: _Optional[int] = ..., mempool_transactions: _Optional[int] = ..., extra_pool_transactions: _Optional[int] = ..., requested_transactions: _Optional[int] = ..., requested_bytes: _Optional[int] = ...) -> None: ...

class ValidationEvent(_message.Message):
    __slots__ = ["block_connected", "block_header", "compact_block_reconstructed"]
    BLOCK_CONNECTED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HEADER_FIELD_NUMBER: _ClassVar[int]
    COMPACT_BLOCK_RECONSTRUCTED_FIELD_NUMBER: _ClassVar[int]
    block_connected: BlockConnected
    block_header: BlockHeaderSeen
    compact_block_reconstructed: CompactBlockReconstructed
    def __init__(self, block_connected: _Optional[_Union[BlockConnected, _Mapping]] = ..., block_header: _Optional[_Union[BlockHeaderSeen, _Mapping]] = ..., compact_block_reconstructed: _Optional[_Union[CompactBlockReconstructed, _Mapping]] = ...) -> None: ...
