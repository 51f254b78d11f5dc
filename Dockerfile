# Built with `docker build -t aep-flow-exporter .`; the README says how to run it.
FROM docker.io/library/python:3.13-slim-bookworm AS build

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY exporter ./exporter
# An environment of its own, without what only installs; its modules compiled, because nothing can be written later.
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
# The base image has Python's library as text alone, and later nothing can be written: what the program imports of it is
# compiled here, or each start and each probe would do it again (0.9 s for 0.4).
RUN aep-flow-exporter version

# SQLite sorts what is too much for memory in a file, which a read-only root has no place for.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SQLITE_TMPDIR=/var/lib/aep-flow-exporter \
    AEP_EXPORTER_WEB_LISTEN_ADDRESS=:10464 \
    AEP_EXPORTER_LEDGER_URL=sqlite:////var/lib/aep-flow-exporter/ledger.db

# The only place that is written to: the rest can be read-only.
VOLUME /var/lib/aep-flow-exporter
EXPOSE 10464
USER 10464:10464

# Asks where the exporter was told to listen, by flag or by variable, and with TLS where that has it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-m", "exporter.healthcheck"]

ENTRYPOINT ["aep-flow-exporter"]
CMD ["serve"]
