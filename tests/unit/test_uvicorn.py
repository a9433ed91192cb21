"""What the protocol uses of undocumented parts of uvicorn exists: a release that changes them fails here first."""

import inspect
import re

import pytest
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from factwire.server.uvicorn_protocol.http10 import UnframedBody
from factwire.server.uvicorn_protocol.protocol import GuardedProtocol
from factwire.server.uvicorn_protocol.response_writer import ConnectionWriter, DirectResponseCycle
from tests.support.service import ROOT

FOLDER = ROOT / "app" / "factwire" / "server" / "uvicorn_protocol"
TEXT = "\n".join(path.read_text() for path in FOLDER.glob("*.py"))
USED = {
    "self": inspect.getsource(httptools_impl),
    "cycle": inspect.getsource(RequestResponseCycle),
    "flow": inspect.getsource(FlowControl),
    "server_state": inspect.getsource(ServerState),
}
CALLBACKS = (
    "connection_made connection_lost eof_received data_received on_message_begin on_url on_header on_headers_complete"
    " on_body on_message_complete on_response_complete pause_writing resume_writing send_400_response"
    " _unsupported_upgrade_warning _unset_keepalive_if_required timeout_keep_alive_handler"
)


def own_names() -> set[str]:
    """What our own classes define, and the attributes that they have room for."""
    classes = [*GuardedProtocol.__mro__, DirectResponseCycle, ConnectionWriter, UnframedBody]
    ours = [each for each in classes if each.__module__.startswith("factwire.")]
    set_here = set(re.findall(r"\bself\.(_[a-z_0-9]+)(?:: [^=\n]+)? = ", TEXT))
    return {name for each in ours for name in (*vars(each), *getattr(each, "__annotations__", ()))} | set_here


def is_defined(name: str, source: str) -> bool:
    return re.search(rf"\bself\.{name}\b|\bdef {name}\b|^    {name}:", source, re.MULTILINE) is not None


@pytest.mark.parametrize("owner", USED)
def test_the_attributes_that_are_used_exist(owner: str) -> None:
    used = set(re.findall(rf"(?<!\.)\b{owner}\.([a-z_0-9]+)|\.{owner}\.([a-z_0-9]+)", TEXT))
    names = {name for pair in used for name in pair if name} - own_names()
    assert names
    assert {name for name in names if not is_defined(name, USED[owner])} == set()


def test_the_methods_that_are_overridden_exist() -> None:
    assert [name for name in CALLBACKS.split() if not callable(getattr(HttpToolsProtocol, name, None))] == []
    assert issubclass(GuardedProtocol, HttpToolsProtocol)
    assert issubclass(DirectResponseCycle, RequestResponseCycle)


def test_an_attribute_that_is_gone_is_noticed() -> None:
    assert not is_defined("unread_bytes_of_tomorrow", USED["self"])
