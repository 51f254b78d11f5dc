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
    org.opencontainers.image.description="Prometheus exporter for Adobe Experience Platform flow runs" \
    org.opencontainers.image.source="https://github.com/aep-flow-exporter/aep-flow-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/aep-flow-exporter /opt/aep-flow-exporter
COPY --from=build --chown=10464:10464 /var/lib/aep-flow-exporter /var/lib/aep-flow-exporter

ENV PATH=/opt/aep-flow-exporter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AEP_EXPORTER_WEB_LISTEN_ADDRESS=:10464 \
    AEP_EXPORTER_LEDGER_URL=sqlite:////var/lib/aep-flow-exporter/ledger.db

# The only place that is written to: the rest can be read-only.
VOLUME /var/lib/aep-flow-exporter
EXPOSE 10464
USER 10464:10464

# Asks the port of --web.listen-address, where that was given by its variable; it does not speak TLS.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['AEP_EXPORTER_WEB_LISTEN_ADDRESS'].rpartition(':')[2] + '/-/healthy', timeout=4)"]

ENTRYPOINT ["aep-flow-exporter"]
CMD ["serve"]
