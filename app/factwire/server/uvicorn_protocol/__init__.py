"""Everything that depends on undocumented parts of uvicorn.

tests/unit/test_uvicorn.py fails if a new release changes them. uvicorn has no time limits for headers and bodies (its
issue 157) and loses the body of a request that offers HTTP/2 (its issue 2722). The protocol of a connection is one
class in several modules: `upgrades` reads a request again without the offer, `timeouts` bounds it, `protocol` with
`response_writer` answers without ASGI, and `http10` writes to clients of HTTP/1.0.
"""
