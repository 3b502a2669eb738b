from peerobserver.v1 import primitives_pb2 as _primitives_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddressAnnouncement(_message.Message):
    __slots__ = ["addresses"]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    addresses: _containers.RepeatedCompositeFieldContainer[_primitives_pb2.Address]
    def __init__(self, addresses: _Optional[_Iterable[_Union[_primitives_pb2.Address, _Mapping]]] = ...) -> None: ...

class BlockAnnouncement(_message.Message):
    __slots__ = ["headers", "via"]
    class Via(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    VIA_COMPACT_BLOCK: BlockAnnouncement.Via
    VIA_FIELD_NUMBER: _ClassVar[int]
    VIA_HEADERS: BlockAnnouncement.Via
    VIA_UNSPECIFIED: BlockAnnouncement.Via
    headers: _containers.RepeatedCompositeFieldContainer[_primitives_pb2.BlockHeader]
    via: BlockAnnouncement.Via
    def __init__(self, via: _Optional[_Union[BlockAnnouncement.Via, str]] = ..., headers: _Optional[_Iterable[_Union[_primitives_pb2.BlockHeader, _Mapping]]] = ...) -> None: ...

class InventoryAnnouncement(_message.Message):
    __slots__ = ["inventory"]
    INVENTORY_FIELD_NUMBER: _ClassVar[int]
    inventory: _containers.RepeatedCompositeFieldContainer[_primitives_pb2.InventoryItem]
    def __init__(self, inventory: _Optional[_Iterable[_Union[_primitives_pb2.InventoryItem, _Mapping]]] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ["id", "peer_id", "transport_version"]
    ID_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: int
    peer_id: int
    transport_version: int
    def __init__(self, id: _Optional[int] = ..., transport_version: _Optional[int] = ..., peer_id: _Optional[int] = ...) -> None: ...

class LinkState(_message.Message):
    __slots__ = ["observed_node", "protocol_version", "reason", "services", "start_height", "state", "user_agent"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    OBSERVED_NODE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    START_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATE_DOWN: LinkState.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNSPECIFIED: LinkState.State
    STATE_UP: LinkState.State
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    observed_node: bool
    protocol_version: int
    reason: str
    services: int
    start_height: int
    state: LinkState.State
    user_agent: str
    def __init__(self, state: _Optional[_Union[LinkState.State, str]] = ..., reason: _Optional[str] = ..., protocol_version: _Optional[int] = ..., services: _Optional[int] = ..., user_agent: _Optional[str] = ..., start_height: _Optional[int] = ..., observed_node: bool = ...) -> None: ...

class P2pExtractor(_message.Message):
    __slots__ = ["address_announcement", "block_announcement", "feefilter_announcement", "inventory_announcement", "link", "link_state", "ping_duration", "ping_timeout"]
    ADDRESS_ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    FEEFILTER_ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    INVENTORY_ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_STATE_FIELD_NUMBER: _ClassVar[int]
    PING_DURATION_FIELD_NUMBER: _ClassVar[int]
    PING_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    address_announcement: AddressAnnouncement
    block_announcement: BlockAnnouncement
    feefilter_announcement: int
    inventory_announcement: InventoryAnnouncement
    link: Link
    link_state: LinkState
    ping_duration: PingDuration
    ping_timeout: PingTimeout
    def __init__(self, ping_duration: _Optional[_Union[PingDuration, _Mapping]] = ..., address_announcement: _Optional[_Union[AddressAnnouncement, _Mapping]] = ..., inventory_announcement: _Optional[_Union[InventoryAnnouncement, _Mapping]] = ..., feefilter_announcement: _Optional[int] = ..., block_announcement: _Optional[_Union[BlockAnnouncement, _Mapping]] = ..., link_state: _Optional[_Union[LinkState, _Mapping]] = ..., ping_timeout: _Optional[_Union[PingTimeout, _Mapping]] = ..., link: _Optional[_Union[Link, _Mapping]] = ...) -> None: ...

class PingDuration(_message.Message):
    __slots__ = ["duration"]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    duration: int
    def __init__(self, duration: _Optional[int] = ...) -> None: ...

class PingTimeout(_message.Message):
    __slots__ = ["waited"]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    waited: int
    def __init__(self, waited: _Optional[int] = ...) -> None: ...
