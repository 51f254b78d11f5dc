"""`python -m exporter` is the command `aep-flow-exporter`."""

from exporter.cli import main

raise SystemExit(main())
