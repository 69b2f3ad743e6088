# The base installation of llmkit, for servers and applications over HTTP: no torch, no model, no user but `llmkit`.
#
#   docker build -t llmkit .
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD:/work:ro" -v llmkit-cache:/cache -v llmkit-runs:/runs \
#     llmkit eval recipe.yaml --dir /runs
#
# Everything is written to /tmp, /cache and /runs, so the file system may be read-only.
FROM python:3.12-slim AS build
COPY . /source
RUN python -m venv /opt/llmkit && /opt/llmkit/bin/pip install --no-cache-dir /source

FROM python:3.12-slim
COPY --from=build /opt/llmkit /opt/llmkit
RUN groupadd --gid 10001 llmkit \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp llmkit \
 && mkdir /work /cache /runs \
 && chown 10001:10001 /cache /runs
ENV PATH=/opt/llmkit/bin:$PATH HOME=/tmp LLMKIT_CACHE=/cache PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME ["/cache", "/runs"]
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["llmkit"]
