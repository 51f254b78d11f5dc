"""aep-flow-exporter: Adobe Experience Platform flow runs as Prometheus metrics."""

__version__ = "0.1.0"
