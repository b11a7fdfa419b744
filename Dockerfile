# syntax=docker/dockerfile:1
# Three stages: node builds the console, pip installs the hash-pinned lock, and a slim Python without tools runs both.

FROM node:22.20.0-bookworm-slim AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY console/ ./
RUN npm run build

FROM python:3.12.12-slim-bookworm AS packages
RUN python -m venv /opt/venv
COPY requirements.lock /src/requirements.lock
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /src/requirements.lock

FROM python:3.12.12-slim-bookworm
RUN groupadd --gid 10001 lamplighter \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/lamplighter --shell /usr/sbin/nologin lamplighter \
 && install -d -o 10001 -g 10001 /var/lib/lamplighter /boards
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/lamplighter
COPY pyproject.toml LICENSE ./
COPY config/ config/
COPY devices/ devices/
COPY storage/ storage/
COPY alerts/ alerts/
COPY ingest/ ingest/
COPY api/ api/
COPY dashboards/ dashboards/
COPY simulators/ simulators/
COPY lamplighter/ lamplighter/
COPY --from=console /src/console/dist/ console/dist/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/lamplighter \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/lamplighter
VOLUME ["/var/lib/lamplighter"]
EXPOSE 8080
ENTRYPOINT ["python", "-m", "lamplighter"]
CMD ["--help"]
