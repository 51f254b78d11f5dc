"""Sources of the Grafana dashboards. `python -m grafana.build` writes them as JSON. The exporter never imports it."""
