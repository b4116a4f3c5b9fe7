import pytest

from captures.privacy.names import is_plain, names_identity


@pytest.mark.parametrize(
    "name",
    [
        "MedInc",
        "petal_length_cm",
        "x1",
        "dense_1_input",
        "iris-v2",
        "1",
        "v1.2.3",
        "AverageMonthlyIncomeOverTheYear",
        "X-Request-Id",
        "output__0",
        "bert-base-uncased",
        "HTTPServerErrors",
        "resnet50",
        "DAYS_EMPLOYED_PERCENTAGE",
    ],
)
def test_names_of_a_schema_are_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada@example.org",
        "Ada Lovelace",
        "user12345",
        "078-05-1120",
        "2024-01-31",
        "10.0.0.1",
        "deadbeefdeadbeef",
        "é",
        "123e4567-e89b-12d3-a456-426614174000",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOi",
        "sk-live-abc",
        "X-sk-live-abc",
        "ghp_abcdef",
        "a" * 65,
        "QWxhZGRpbjpvcGVu",
        "a1b2c3d4e5f6a7b8z",
        "x" * 41,
        "-x",
        "_x",
        "a/b",
        "a%20b",
        "stk1_abcdefghijklmnop",
    ],
)
def test_data_is_not_a_name(text: str) -> None:
    assert not is_plain(text)


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "user_id",
        "PassengerId",
        "customerid",
        "SSN",
        "phone",
        "cardNumber",
        "account_no",
        "input_ids",
        "token_ids",
        "session",
        "token",
        "image",
        "pixel_values",
        "audio",
        "sentence_embedding",
        "bytes",
        "user_id[3]",
    ],
)
def test_names_of_ids_and_content(name: str) -> None:
    assert names_identity(name)


@pytest.mark.parametrize(
    "name", ["", "MedInc", "user_age", "customer_since", "max_tokens", "n_users", "class_id", "valid", "[0]", "paid"]
)
def test_other_names(name: str) -> None:
    assert not names_identity(name)
