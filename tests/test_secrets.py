"""What looks like a credential stays here; what does not is logged as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.config import compose, plain
from frostline.secrets import WITHHELD, flat, is_secret, without_credentials


@pytest.mark.parametrize(
    "key",
    ["token", "hf_token", "api_key", "apiKey", "API-KEY", "apikey", "password", "db_password", "dbPassword", "auth"]
    + ["client_secret", "AWS_SECRET_ACCESS_KEY", "accessKey", "private_key", "credentials", "PASSPHRASE"],
)
def test_keys_that_name_a_credential_are_known(key: str) -> None:
    assert is_secret(key)
    assert flat({"data": {key: "x1", "n": 1}}) == {f"data.{key}": WITHHELD, "data.n": 1}
    assert flat({"data": {key: {"a": "x1"}, "list": [{key: "x1"}]}}) == {
        f"data.{key}": WITHHELD,
        "data.list": f'[{{"{key}": "{WITHHELD}"}}]',
    }
    assert flat({key: None}) == {key: None}


@pytest.mark.parametrize(
    "key",
    ["tokenizer", "max_tokens", "monkey", "key", "author", "lr", "passes", "keys", "bias", "secretary", "split_seed"],
)
def test_other_keys_are_left_alone(key: str) -> None:
    assert not is_secret(key) and flat({key: "value"}) == {key: "value"}


@pytest.mark.parametrize(
    "value",
    [
        "ghp_" + "a1" * 18,
        "hf_" + "Ab" * 17,
        "sk-" + "a" * 40,
        "AKIA" + "ABCD1234EFGH5678",
        "glpat-" + "a" * 20,
        "0123456789abcdef" * 2,
        "0123456789ABCDEF0123456789abcdef01234567",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_values_with_a_credentials_form_are_known(value: str) -> None:
    assert flat({"data": {"root": value, "all": [value]}}) == {
        "data.root": WITHHELD,
        "data.all": f'["{WITHHELD}"]',
    }


def test_a_login_is_cut_out_of_an_address() -> None:
    assert without_credentials("at https://me:pw@host:5000/x, no") == f"at https://{WITHHELD}@host:5000/x, no"
    assert flat({"uri": "postgresql://u:p@h/db"}) == {"uri": f"postgresql://{WITHHELD}@h/db"}


def test_a_real_config_loses_nothing() -> None:
    config = plain(compose("run", ["freeze=last_k", "optimizer.lr=0.01"]))
    table = flat(config)
    assert WITHHELD not in str(table)
    assert table["optimizer.lr"] == 0.01 and table["freeze.k"] == config["freeze"]["k"]
    assert table["label"] is None and table["cache.enabled"] is True


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)))
def test_every_leaf_has_one_dotted_key(value: object) -> None:
    def leaves(node: object) -> int:
        return sum(map(leaves, node.values())) if isinstance(node, dict) else 1

    assert len(flat({"root": value})) == leaves(value)
