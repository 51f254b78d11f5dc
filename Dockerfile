# Build it with `docker build -t aep-flow-exporter .`. The README describes how to run it.
FROM docker.io/library/python:3.13-slim-bookworm AS build

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY exporter ./exporter
# A virtual environment without installers. pip compiles its modules, because the root file system may be read-only
# later.
RUN python -m venv /opt/aep-flow-exporter \
    && /opt/aep-flow-exporter/bin/pip install --no-cache-dir . \
    && /opt/aep-flow-exporter/bin/pip uninstall --yes pip setuptools \
    && install -d -o 10464 -g 10464 -m 0700 /var/lib/aep-flow-exporter

FROM docker.io/library/python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="aep-flow-exporter" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.description="Prometheus exporter for Adobe Experience Platform flow runs" \
    org.opencontainers.image.source="https://github.com/aep-flow-exporter/aep-flow-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/aep-flow-exporter /opt/aep-flow-exporter
COPY --from=build --chown=10464:10464 /var/lib/aep-flow-exporter /var/lib/aep-flow-exporter

ENV PATH=/opt/aep-flow-exporter/bin:$PATH
# The base image has Python's standard library without compiled modules, and later they can't be written. This command
# compiles those that the program imports. Without it each start and each health check takes 0.9 s instead of 0.4 s.
RUN aep-flow-exporter version

# SQLite writes temporary files for large sorts. The root file system may be read-only, so they go to the volume.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SQLITE_TMPDIR=/var/lib/aep-flow-exporter \
    AEP_EXPORTER_WEB_LISTEN_ADDRESS=:10464 \
    AEP_EXPORTER_LEDGER_URL=sqlite:////var/lib/aep-flow-exporter/ledger.db

# The program writes only here. The rest of the file system can be read-only.
VOLUME /var/lib/aep-flow-exporter
EXPOSE 10464
USER 10464:10464

# The health check uses the listen address from the flags or variables of `serve`, with TLS if it is configured.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-m", "exporter.healthcheck"]

ENTRYPOINT ["aep-flow-exporter"]
CMD ["serve"]
