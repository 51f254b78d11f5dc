"""`python -m exporter` runs the same program as `aep-flow-exporter`."""

from exporter.commands.main import main

raise SystemExit(main())
