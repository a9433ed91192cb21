"""Claims: what the tokens of common issuers grant."""

import json
from typing import Any

import pytest

from factwire.auth.claims import ClaimGrants, find, split_claim
from factwire.domain.grants import Grants, grants_from, new_namespace_set

WRITER = {"publish": {"include": ["loans.*"]}, "read": {"include": ["loans.*"], "exclude": ["loans.secret"]}}
READER = {"read": {"include": ["*"]}}

KEYCLOAK = {
    "iss": "https://sso.example/realms/main",
    "aud": ["factwire", "account"],
    "realm_access": {"roles": ["offline_access", "loans-writer"]},
    "resource_access": {"factwire": {"roles": ["reader"]}},
    "scope": "openid profile",
}
AUTH0 = {
    "iss": "https://team.eu.auth0.example/",
    "aud": "https://facts.example",
    "scope": "facts:read facts:write",
    "permissions": ["facts:read"],
    "https://facts.example/grants": WRITER,
}
ENTRA = {"iss": "https://login.example/tenant/v2.0", "aud": "api-id", "roles": ["Facts.Read"], "scp": "user.read"}


@pytest.mark.parametrize(
    ("claims", "claim", "by_value", "granted"),
    [
        (KEYCLOAK, None, {"/realm_access/roles": {"loans-writer": WRITER}}, WRITER),
        (KEYCLOAK, None, {"/resource_access/factwire/roles": {"reader": READER}}, READER),
        (AUTH0, "https://facts.example/grants", {}, WRITER),
        (AUTH0, None, {"scope": {"facts:read": READER}}, READER),
        (AUTH0, None, {"permissions": {"facts:read": READER}}, READER),
        (ENTRA, None, {"roles": {"Facts.Read": READER}}, READER),
        ({"grants": json.dumps(WRITER)}, "grants", {}, WRITER),
        ({"a/b": {"m~n": ["x"]}}, None, {"/a~1b/m~0n": {"x": READER}}, READER),
        (ENTRA, "grants", {"roles": {"Facts.Write": WRITER}}, {}),
        ({"roles": "Facts.Readers"}, None, {"roles": {"Facts.Read": READER}}, {}),
        ({"roles": {"Facts.Read": True}}, None, {"roles": {"Facts.Read": READER}}, {}),
        ({}, None, {}, {}),
    ],
)
def test_the_claims_of_common_issuers_grant_what_the_settings_say(
    claims: dict[str, Any], claim: str | None, by_value: dict[str, dict[str, Any]], granted: dict[str, Any]
) -> None:
    mapping = {name: {value: grants_from(form) for value, form in each.items()} for name, each in by_value.items()}
    assert ClaimGrants(claim, mapping).of(claims) == grants_from(granted)


def test_what_one_grant_excludes_stays_out_whatever_another_includes() -> None:
    claims = {"scope": "facts:read", "grants": {"read": {"include": ["loans.*"], "exclude": ["loans.secret"]}}}
    granted = ClaimGrants("grants", {"scope": {"facts:read": grants_from(READER)}}).of(claims)
    assert granted == Grants(read=new_namespace_set(["*", "loans.*"], ["loans.secret"]))
    assert "loans.secret" not in granted.read


@pytest.mark.parametrize(
    "form", [1, [], "*", {"raed": {}}, {"read": []}, {"read": {"includes": []}}, {"read": {"include": ["a*"]}}]
)
def test_what_is_no_grants_grants_nothing_but_is_an_error(form: Any) -> None:
    with pytest.raises(ValueError, match=r"[Ee]xpect|is neither a namespace"):
        ClaimGrants("grants", {}).of({"grants": form})


def test_a_claim_that_cannot_be_followed_is_none() -> None:
    assert find({"a": "text"}, "/a/b") is None
    assert find({"a": ["x"]}, "/a/0") is None
    assert list(split_claim(None)) == list(split_claim(7)) == []
