from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BlockTip(_message.Message):
    __slots__ = ["hash", "height"]
    HASH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    height: int
    def __init__(self, height: _Optional[int] = ..., hash: _Optional[bytes] = ...) -> None: ...

class IpcExtractor(_message.Message):
    __slots__ = ["block_tip"]
    BLOCK_TIP_FIELD_NUMBER: _ClassVar[int]
    block_tip: BlockTip
    def __init__(self, block_tip: _Optional[_Union[BlockTip, _Mapping]] = ...) -> None: ...
