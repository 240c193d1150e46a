"""Writes dashboards/grafana and dashboards/alerts: `python -m dashboards.build`."""
