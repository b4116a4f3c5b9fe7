import gzip

import numpy as np
import pytest

from captures.codecs.body import Document, Opaque, Role
from captures.codecs.opaque import OpaqueCodec, template_of
from captures.errors import CodecError


def test_json_is_a_document_and_the_rest_opaque_with_a_reason() -> None:
    assert OpaqueCodec().decode([b'{"a":1}', b"a,b\n", b"", gzip.compress(b"{}", mtime=0)], "response") == [
        Document({"a": 1}),
        Opaque("not JSON", 4),
        Opaque("empty", 0),
        Opaque("content-encoding", len(gzip.compress(b"{}", mtime=0))),
    ]


def test_every_leaf_is_other_and_named_after_its_key() -> None:
    leaves = OpaqueCodec().leaves(b'{"a":["x",1]}', "request")
    assert [(leaf.path, leaf.role, leaf.name) for leaf in leaves] == [
        (("a",), Role.OTHER, "a"),
        (("a", 0), Role.OTHER, "a"),
        (("a", 1), Role.OTHER, "a"),
    ]


def test_there_are_no_features_to_read_or_write() -> None:
    codec = OpaqueCodec()
    assert codec.features([Document(1)]) == {}
    assert codec.encode_features([b"1"], {}) == [b"1"]
    assert codec.encode_features([b"1"], {"a": [np.empty(0)]}) == [b"1"]
    with pytest.raises(CodecError):
        codec.encode_features([b"1"], {"a": [np.ones(1)]})


@pytest.mark.parametrize(
    ("target", "template"),
    [
        ("/", "/"),
        ("", "/"),
        ("/users/ada%40x.org/health?a=b", "/{}/{}/health"),
        ("/a" * 20, "/{}" * 8 + "/…"),
        ("host:443", "/"),
    ],
)
def test_templates_name_nobody(target: str, template: str) -> None:
    assert template_of(target) == template
