"""The query language of the explorer, without a browser: it stands on nothing but the language itself."""

import json
import subprocess
from typing import Any

import pytest

from tests.support.service import ROOT

pytestmark = pytest.mark.clients

NAMES = ("constructor", "toString", "hasOwnProperty", "__proto__")


def run(expression: str) -> Any:
    """The value of an expression over what query.js exports, by way of JSON."""
    source = (ROOT / "app" / "factwire" / "ui" / "query.js").read_text()
    script = f"{source}\nconsole.log(JSON.stringify({expression}));"
    done = subprocess.run(
        ["node", "--input-type=module", "-"], input=script, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_meta_key_may_have_the_name_of_what_every_object_has(name: str) -> None:
    query = json.dumps(f"meta={name}:a meta={name}:b")
    assert run(f"parse({query})") == [{"meta": {name: ["a", "b"]}}]
    assert run(f"parametersOf(parse({query})).toString()") == f"meta={name}%3Aa&meta={name}%3Ab"
    for values in (["a", "b"], ["a"]):
        fact = json.dumps({"namespace": "shop", "type": "T", "aggregate_ids": [], "meta": {name: values}})
        assert run(f"matches(parse({query}), JSON.parse({json.dumps(fact)}))") == (values == ["a", "b"])


@pytest.mark.parametrize("name", ["constructor", "__proto__"])
def test_a_name_that_is_not_part_of_the_language_is_refused(name: str) -> None:
    attempt = f"(() => {{ try {{ return parse('{name}=a'); }} catch (error) {{ return error.message; }} }})()"
    assert run(attempt) == f"{name}: names are namespace, type, aggregate_id, meta"
