"""What looks like a credential stays here; what does not is logged as it is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.config.compose import compose, resolve
from frostline.config.secrets import (
    WITHHELD,
    check_secrets,
    find_variables,
    flatten_config,
    is_secret,
    make_mask,
    make_reference,
    mask_value,
    resolve_env,
    without_credentials,
)
from frostline.errors import UserError
from frostline.results.store import run_id


@pytest.mark.parametrize(
    "key",
    ["token", "hf_token", "api_key", "apiKey", "API-KEY", "apikey", "password", "db_password", "dbPassword", "auth"]
    + ["client_secret", "AWS_SECRET_ACCESS_KEY", "accessKey", "private_key", "credentials", "PASSPHRASE"],
)
def test_keys_that_name_a_credential_are_known(key: str) -> None:
    assert is_secret(key)
    assert flatten_config({"data": {key: "x1", "n": 1}}) == {f"data.{key}": WITHHELD, "data.n": 1}
    assert flatten_config({"data": {key: {"a": "x1"}, "list": [{key: "x1"}]}}) == {
        f"data.{key}": WITHHELD,
        "data.list": f'[{{"{key}": "{WITHHELD}"}}]',
    }
    assert flatten_config({key: None}) == {key: None}


@pytest.mark.parametrize(
    "key",
    ["tokenizer", "max_tokens", "monkey", "key", "author", "lr", "passes", "keys", "bias", "secretary", "split_seed"],
)
def test_other_keys_are_left_alone(key: str) -> None:
    assert not is_secret(key) and flatten_config({key: "value"}) == {key: "value"}


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
    assert flatten_config({"data": {"root": value, "all": [value]}}) == {
        "data.root": WITHHELD,
        "data.all": f'["{WITHHELD}"]',
    }


def test_a_login_is_cut_out_of_an_address() -> None:
    assert without_credentials("at https://me:pw@host:5000/x, no") == f"at https://{WITHHELD}@host:5000/x, no"
    assert flatten_config({"uri": "postgresql://u:p@h/db"}) == {"uri": f"postgresql://{WITHHELD}@h/db"}


def test_a_real_config_loses_nothing() -> None:
    config = resolve(compose("run", ["freeze=last_k", "optimizer.lr=0.01"]))
    table = flatten_config(config.plain())
    assert WITHHELD not in str(table)
    assert table["optimizer.lr"] == 0.01 and table["freeze.k"] == config.freeze["k"]
    assert table["label"] is None and table["cache.enabled"] is True


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)))
def test_every_leaf_has_one_dotted_key(value: object) -> None:
    def leaves(node: object) -> int:
        return sum(map(leaves, node.values())) if isinstance(node, dict) else 1

    assert len(flatten_config({"root": value})) == leaves(value)


# What is written down


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("+data.password=hunter2", "data.password"),
        ("+data.options={api_key: hunter2}", "data.options.api_key"),
        ("+data.keys=[{token: hunter2}]", r"data.keys\[0\].token"),
        ("label='https://me:hunter2@host/x'", "label"),
        ("label='https://me:hun@ter2@host/x'", "label"),
        ("label='at https://host/x?a=1&access_token=hunter2#y'", "label"),
        ("label='https://bucket/x?X-Amz-Signature=hunter2'", "label"),
        ("label='https://host/x?sig=hunter2'", "label"),
        ("label=ghp_" + "a1" * 18, "label"),
        ("label='https://ghp_" + "a1" * 18 + "@github.example'", "label"),
        ("label='${oc.env:NOT_THERE,hunter2}' +data.token=${label}", "data.token"),
        ("+data.token=${oc.env:NOT_THERE,hunter2}", "data.token"),
        ("label='https://me:${oc.env:NOT_THERE,hunter2}@host'", "label"),
        ("tune.storage='postgresql://me:hunter2@host/x'", "tune.storage"),
    ],
)
def test_a_credential_in_a_config_is_refused_with_its_key(override: str, key: str) -> None:
    """Promise 35: it would stand in resolved.yaml and in the record."""
    overrides = override.split(" ") if override.startswith("label='${") else [override]
    root = "tune" if "tune." in override else "run"
    with pytest.raises(UserError, match=rf"^{key}: it holds a password.*oc\.env") as caught:
        resolve(compose(root, overrides))
    assert "hunter2" not in str(caught.value) and "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        *("postgresql://me@host/x", "https://host:80/a@b", "https://host/x?a=1&page=2", "0123456789abcdef" * 4),
        *("https://me:${oc.env:PW}@host", "https://${oc.env:ME}:${oc.env:PW}@host", "https://host/?token=${oc.env:PW}"),
        *("~/.cache/tokens", "a:b@c", "${oc.env:PW}"),
    ],
)
def test_what_holds_none_is_taken_and_shown_as_it_is(value: str) -> None:
    check_secrets({"data": {"root": value, "token_cache": "~/.cache/tokens", "max_tokens": 3, "token": None}})
    if "me@host" not in value:
        assert mask_value(value) == value


def test_references_are_kept_until_they_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "hunter2")
    monkeypatch.setenv("PLACE", "/somewhere")
    given = [
        "label='x${oc.env:PW}y'",
        "outputs='${oc.env:PLACE}/out'",
        "group=${label}",
        "+data.root='${oc.env:NO,a b}'",
    ]
    config = resolve(compose("run", given))
    assert config.label == config.group == "x${oc.env:PW}y" and config.data["root"] == "${oc.env:NO,'a b'}"
    assert config.outputs == "/somewhere/out"
    found = resolve_env(config.plain())
    assert found["label"] == "xhunter2y" and found["data"]["root"] == "a b"
    assert found["optimizer"] == config.optimizer
    assert find_variables(config.plain()) == {"PW": "hunter2"}


@pytest.mark.parametrize("override", ["label=${oc.env:NOT_THERE}", "label='${oc.env:not-a-name}'"])
def test_a_variable_that_is_not_there_is_named(override: str) -> None:
    with pytest.raises(UserError, match="label: .*(NOT_THERE|not-a-name)"):
        resolve(compose("run", [override]))


@pytest.mark.parametrize(
    "override", ["data.size=${oc.env:NUMBER}", "epochs=${oc.env:NUMBER}", "data._target_=${oc.env:NUMBER}"]
)
def test_a_variable_stands_for_texts_alone(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBER", "32")
    with pytest.raises(UserError, match=override.partition("=")[0]):
        resolve(compose("run", [override]))


@pytest.mark.parametrize(
    "way", ["${oc.decode:${oc.env:PW}}", "${oc.decode:'${oc.env:PW}'}", "${oc.select:outputs}", "${group}"]
)
def test_no_way_round_shows_a_value(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "hunter2")
    config = resolve(compose("run", [f"label='{way}'" if "'" not in way else f'label="{way}"', "group=${oc.env:PW}"]))
    assert "hunter2" not in str(config)


@given(st.text(max_size=20))
def test_a_default_comes_back_as_it_was(default: str) -> None:
    assert resolve_env(f"a{make_reference('NOT_THERE', default)}b") == f"a{default}b"


def test_an_id_hangs_on_values_but_not_on_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(compose("run", []))
    named = replace(config, backbone={**config.backbone, "name": "${oc.env:PW}"})
    login = replace(config, backbone={**config.backbone, "name": "https://me:${oc.env:PW}@host"})
    keyed = replace(config, backbone={**config.backbone, "token": "${oc.env:PW}"})
    seen = []
    for value in ("hunter2", "hunter3"):
        monkeypatch.setenv("PW", value)
        seen.append([run_id(one) for one in (named, login, keyed)])
    (one, login, keyed), (other, same, alike) = seen
    assert one != other and login == same and keyed == alike


def test_messages_hide_what_a_config_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "hunter2")
    hide = make_mask({"logger": {"tracking_uri": "https://me:${oc.env:PW}@host"}})
    assert hide("no answer: hunter2 at https://me:hunter2@host") == (
        "no answer: ${oc.env:PW} at https://me:${oc.env:PW}@host"
    ) or "hunter2" not in hide("no answer: hunter2 at https://me:hunter2@host")


def test_records_of_others_are_shown_without_credentials() -> None:
    record = {"config": {"data": {"password": "x1", "token_cache": "~/x"}, "uri": "https://me:x1@host"}, "n": [1, "a"]}
    assert mask_value(record) == {
        "config": {"data": {"password": WITHHELD, "token_cache": "~/x"}, "uri": f"https://{WITHHELD}@host"},
        "n": [1, "a"],
    }
