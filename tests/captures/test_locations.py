import pytest

from captures.locations import is_remote, scheme_of, shown


@pytest.mark.parametrize(
    ("where", "scheme"),
    [
        ("s3://bucket/a.tape", "s3"),
        ("S3://bucket/a.tape", "s3"),
        ("https://host/a.tape", "https"),
        ("monday.tape", ""),
        ("/data/s3/a.tape", ""),
        ("s3:/bucket/a.tape", ""),
        ("./x://y", ""),
        ("", ""),
    ],
)
def test_a_url_is_what_begins_with_a_scheme(where: str, scheme: str) -> None:
    assert scheme_of(where) == scheme
    assert is_remote(where) is bool(scheme)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("https://user:word@host:8443/a.tape?X-Amz-Signature=1#x", "https://host:8443/a.tape"),
        ("http://127.0.0.1/a.tape", "http://127.0.0.1/a.tape"),
        ("s3://bucket/what?.tape", "s3://bucket/what?.tape"),
        ("s3://AKIA:word@bucket/p@q/a.tape", "s3://bucket/p@q/a.tape"),
        ("monday.tape", "monday.tape"),
        ("a@b.tape", "a@b.tape"),
    ],
)
def test_userinfo_and_query_are_never_shown(where: str, expected: str) -> None:
    assert shown(where) == expected
