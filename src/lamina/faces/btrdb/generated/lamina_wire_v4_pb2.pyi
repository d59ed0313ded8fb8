from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyValue(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class OptValue(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    def __init__(self, value: _Optional[bytes] = ...) -> None: ...

class KeyOptValue(_message.Message):
    __slots__ = ("key", "val")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VAL_FIELD_NUMBER: _ClassVar[int]
    key: str
    val: OptValue
    def __init__(self, key: _Optional[str] = ..., val: _Optional[_Union[OptValue, _Mapping]] = ...) -> None: ...

class StreamDescriptor(_message.Message):
    __slots__ = ("uuid", "collection", "tags", "annotations", "annotationVersion")
    UUID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONVERSION_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    collection: str
    tags: _containers.RepeatedCompositeFieldContainer[KeyValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyValue]
    annotationVersion: int
    def __init__(self, uuid: _Optional[bytes] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ..., annotationVersion: _Optional[int] = ...) -> None: ...

class StatPoint(_message.Message):
    __slots__ = ("time", "min", "mean", "max", "count")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    time: int
    min: float
    mean: float
    max: float
    count: int
    def __init__(self, time: _Optional[int] = ..., min: _Optional[float] = ..., mean: _Optional[float] = ..., max: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class WindowsResponse(_message.Message):
    __slots__ = ("versionMajor", "versionMinor", "values")
    VERSIONMAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSIONMINOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    versionMajor: int
    versionMinor: int
    values: _containers.RepeatedCompositeFieldContainer[StatPoint]
    def __init__(self, versionMajor: _Optional[int] = ..., versionMinor: _Optional[int] = ..., values: _Optional[_Iterable[_Union[StatPoint, _Mapping]]] = ...) -> None: ...

class CreateParams(_message.Message):
    __slots__ = ("uuid", "collection", "tags", "annotations")
    UUID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    collection: str
    tags: _containers.RepeatedCompositeFieldContainer[KeyValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyValue]
    def __init__(self, uuid: _Optional[bytes] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ...) -> None: ...

class StreamInfoResponse(_message.Message):
    __slots__ = ("versionMajor", "versionMinor", "descriptor")
    VERSIONMAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSIONMINOR_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    versionMajor: int
    versionMinor: int
    descriptor: StreamDescriptor
    def __init__(self, versionMajor: _Optional[int] = ..., versionMinor: _Optional[int] = ..., descriptor: _Optional[_Union[StreamDescriptor, _Mapping]] = ...) -> None: ...

class SetStreamAnnotationsParams(_message.Message):
    __slots__ = ("uuid", "expectedAnnotationVersion", "annotations")
    UUID_FIELD_NUMBER: _ClassVar[int]
    EXPECTEDANNOTATIONVERSION_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    expectedAnnotationVersion: int
    annotations: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    def __init__(self, uuid: _Optional[bytes] = ..., expectedAnnotationVersion: _Optional[int] = ..., annotations: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ...) -> None: ...

class LookupStreamsParams(_message.Message):
    __slots__ = ("collection", "isCollectionPrefix", "tags", "annotations")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ISCOLLECTIONPREFIX_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    isCollectionPrefix: bool
    tags: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    def __init__(self, collection: _Optional[str] = ..., isCollectionPrefix: _Optional[bool] = ..., tags: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ...) -> None: ...

class LookupStreamsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamDescriptor]
    def __init__(self, results: _Optional[_Iterable[_Union[StreamDescriptor, _Mapping]]] = ...) -> None: ...

class ListCollectionsParams(_message.Message):
    __slots__ = ("prefix", "startWith", "limit")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    STARTWITH_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    startWith: str
    limit: int
    def __init__(self, prefix: _Optional[str] = ..., startWith: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...
