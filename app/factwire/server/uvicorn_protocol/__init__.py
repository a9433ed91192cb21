"""Everything that depends on undocumented parts of uvicorn.

tests/unit/test_uvicorn.py fails if a new release changes them. uvicorn has no time limits for headers and bodies (its
in four modules: `upgrades` reads a request again without the offer, `timeouts` bounds it, `protocol` with
in four modules: `upgrades` reads a request again without the offer, `timeouts` bounds it, `protocol` and
`response_writer` answer on shorter ways, and `http10` writes to clients of HTTP/1.0.
"""
