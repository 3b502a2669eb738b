from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UtxoCacheCoin(_message.Message):
    __slots__ = ["height", "is_coinbase", "output_index", "txid", "value"]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IS_COINBASE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_INDEX_FIELD_NUMBER: _ClassVar[int]
    TXID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    height: int
    is_coinbase: bool
    output_index: int
    txid: bytes
    value: int
    def __init__(self, txid: _Optional[bytes] = ..., output_index: _Optional[int] = ..., height: _Optional[int] = ..., value: _Optional[int] = ..., is_coinbase: bool = ...) -> None: ...

class UtxoCacheEvent(_message.Message):
    __slots__ = ["add", "flush", "spent", "uncache"]
    ADD_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    UNCACHE_FIELD_NUMBER: _ClassVar[int]
    add: UtxoCacheCoin
    flush: UtxoCacheFlush
    spent: UtxoCacheCoin
    uncache: UtxoCacheCoin
    def __init__(self, flush: _Optional[_Union[UtxoCacheFlush, _Mapping]] = ..., add: _Optional[_Union[UtxoCacheCoin, _Mapping]] = ..., spent: _Optional[_Union[UtxoCacheCoin, _Mapping]] = ..., uncache: _Optional[_Union[UtxoCacheCoin, _Mapping]] = ...) -> None: ...

class UtxoCacheFlush(_message.Message):
    __slots__ = ["coins", "duration", "for_prune", "memory_usage", "mode"]
    COINS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FOR_PRUNE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    coins: int
    duration: int
    for_prune: bool
    memory_usage: int
    mode: int
    def __init__(self, duration: _Optional[int] = ..., mode: _Optional[int] = ..., coins: _Optional[int] = ..., memory_usage: _Optional[int] = ..., for_prune: bool = ...) -> None: ...
