# One image for every process: `troth web`, `troth worker`, `troth beat`, `troth migrate`. See docker-compose.yml.
FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/troth
COPY requirements.lock .
RUN /opt/troth/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY models models
COPY integrations integrations
COPY worker worker
# hatchling is in the lock: nothing is asked of the index that has no hash.
RUN /opt/troth/bin/python -m pip install --no-cache-dir --no-index --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin troth
COPY --from=build /opt/troth /opt/troth
# MALLOC_ARENA_MAX: docs/operations.md, "Memory".
ENV PATH=/opt/troth/bin:$PATH PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER 10001
WORKDIR /tmp
EXPOSE 8000
ENTRYPOINT ["troth"]
CMD ["--help"]
