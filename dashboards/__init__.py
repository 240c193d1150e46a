"""Dashboards and alerts for the metrics of `tcptrace serve`, and the programs that write them."""
