# `docker build .` takes the base from a registry and the packages from an index. deploy/image/build needs neither
# while it builds: it names a base of its own, fetches the wheels beforehand and sets PIP_NO_INDEX.
# By its digest, so that two builds of one version have one base; renew tag and digest together.
ARG BASE=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS installed
ARG PIP_NO_INDEX
COPY deploy/image/wheels /wheels
COPY locks/core.txt /locks/core.txt
# Neither a read-only root nor a copied file's time stamp may make Python compile again at each start.
RUN python3 -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
    --require-hashes --only-binary=:all: --find-links=/wheels -r /locks/core.txt \
 && /venv/bin/pip uninstall --yes pip \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /venv/lib
COPY alembic /factwire/alembic
COPY app /factwire/app
COPY clients/python/factwire_client /factwire/clients/python/factwire_client
COPY openapi/examples /factwire/openapi/examples
COPY docs/problems.md /factwire/docs/problems.md
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /factwire \
 && chmod -R u=rwX,go=rX /factwire /venv

FROM ${BASE}
# The service installs nothing, becomes nobody else and writes no file, not even in /tmp.
RUN useradd --uid 10001 --no-create-home --home-dir /factwire --no-log-init --shell /usr/sbin/nologin factwire \
 && rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* /usr/share/python-wheels \
    /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip \
 && find / -xdev -perm /6000 ! -type l -exec chmod ug-s {} + \
 && find / -xdev -perm -0002 ! -type l -exec chmod o-w {} +
COPY --from=installed /venv /venv
COPY --from=installed /factwire /factwire
WORKDIR /factwire
ENV PATH=/venv/bin:$PATH PYTHONPATH=/factwire/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FACTWIRE_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, since urllib would ask a proxy of the environment for the loopback address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', os.environ.get('FACTWIRE_PORT', '8000'), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "factwire"]
CMD ["serve"]
ARG BASE
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title=Factwire \
      org.opencontainers.image.description="Facts over plain HTTP, kept in the PostgreSQL that a team already runs." \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor="The Factwire authors" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.base.name=${BASE}
