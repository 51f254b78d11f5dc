"""The image is built and run, and systemd checks the unit."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.samples import sample
from tests.system.processes import EXPORTER, PATIENCE, Process, free_port, needs_root, program, run

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "aep-flow-exporter.service"
CERTIFICATES = Path("/etc/ssl/certs")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the path of the program on this machine."""
    path = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    path.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={EXPORTER}", text, flags=re.MULTILINE), encoding="utf-8")
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    """Systemd understands every word of the unit."""
    assert run(program("systemd-analyze"), "verify", unit) == ""


def test_the_unit_is_hardened(unit: Path) -> None:
    """Systemd rates the exposure of the unit, from 0 to 10, below 1.5."""
    said = run(program("systemd-analyze"), "security", "--offline=true", unit)
    (exposure,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert float(exposure) < 1.5, said


class Buildah:
    """The program buildah with its storage in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._program = program("buildah")
        self._storage = ("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs")

    def __call__(self, command: str, *words: str | Path) -> str:
        """Run one command and return its output."""
        return run(self._program, *self._storage, command, *words).strip()

    def base(self, name: str, folder: Path) -> None:
        """Pull an image. Where no registry can be reached, build one from Debian and its Python under that name."""
        pulled = subprocess.run(
            [self._program, *self._storage, "pull", name], capture_output=True, timeout=300, check=False
        )
        if pulled.returncode == 0:
            return
        root = folder / "debian"
        packages = "ca-certificates,python3,python3-venv"
        run(program("debootstrap"), "--variant=minbase", f"--include={packages}", "bookworm", root, _mirror())
        (root / "usr/bin/python").symlink_to("python3")
        container = self("from", "scratch")
        self("add", container, root, "/")
        self("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        self("commit", "--quiet", "--rm", container, name)
        shutil.rmtree(root)


def _mirror() -> str:
    """The mirror from which this machine gets Debian's packages."""
    said = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    return next(line.split()[1] for line in said.splitlines() if line.startswith("bookworm "))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mounted root of the Dockerfile's image, and its configuration."""
    needs_root("building an image without a daemon")
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    (name,) = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    buildah.base(name, folder)
    # Certificates and settings with which this machine's pip works. They do not belong into the Dockerfile.
    pip = folder / "pip.conf"
    certificate = os.environ.get("PIP_CERT", str(CERTIFICATES / "ca-certificates.crt"))
    pip.write_text(f"[global]\ncert = {certificate}\n", encoding="utf-8")
    mounts = [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", f"--volume={pip}:/etc/pip.conf:ro"]
    buildah("bud", "--isolation=chroot", "--pull-never", "--format=docker", *mounts, "--tag=exporter", ROOT)
    container = buildah("from", "--pull-never", "localhost/exporter")
    said = json.loads(buildah("inspect", "--type=container", container))
    root = Path(buildah("mount", container))
    yield root, said["Docker"]["config"]
    buildah("umount", container)
    buildah("rm", container)


class Container(Process):
    """The image as a container would run it: a process 1 of its user that can write to its volume only."""

    def __init__(self, folder: Path, root: Path, config: dict[str, Any]) -> None:
        super().__init__(folder, "container")
        self._root = root
        self._config = config
        (volume,) = config["Volumes"]
        self.ledger = folder / "volume"
        self.ledger.mkdir()
        os.chown(self.ledger, *map(int, config["User"].split(":")))
        self._volume = volume

    def run(self, *words: str, **variables: str) -> None:
        """Start the image's command, or these words instead of it."""
        command = [*self._config["Entrypoint"], *(words or self._config["Cmd"])]
        environment = [*self._config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        # The mounts are in a namespace that ends with the process. The process has number 1 in its own namespace, as in
        # a container, so it gets only signals that it handles.
        script = (
            'set -e; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; mount --bind "$2" "$1$3"; '
            'mount -t proc proc "$1/proc"; root=$1; user=$4; shift 4; '
            'exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"'
        )
        self.start(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"),
            *(self._root, self.ledger, self._volume, self._config["User"]),
            *environment,
            *command,
        )

    @property
    def first(self) -> int:
        """The process id that the container's process 1 has outside."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii"))

    def send(self, number: int) -> None:
        """Send a signal to process 1."""
        os.kill(self.first, number)


def test_the_image_runs(image: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Without privileges and on a read-only root, the image records a notification and ends with status 0."""
    root, config = image
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Container(tmp_path, root, config) as container:
        container.run(AEP_EXPORTER_WEB_LISTEN_ADDRESS=f"127.0.0.1:{port}")
        container.until_ready(url + "/-/ready")
        body = sample("source-failure-messages")
        assert httpx.post(url + "/webhook", content=body, timeout=PATIENCE).status_code == 200
        assert "aep_flow_consecutive_failures" in httpx.get(url + "/metrics", timeout=PATIENCE).text
        status = Path(f"/proc/{container.first}/status").read_text(encoding="ascii")
        assert re.search(r"^Uid:\s+10464\s+10464\s", status, re.MULTILINE)
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
        assert container.stop() == 0, container.output()
        assert (container.ledger / "ledger.db").stat().st_uid == 10464
        container.run("version")
        assert container.wait() == 0


def test_the_image_probes_itself(image: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The health check succeeds while the exporter answers at the configured address, and fails when it does not."""
    root, config = image
    address = f"127.0.0.1:{free_port()}"
    probe = config["Healthcheck"]["Test"]
    assert probe[0] == "CMD"
    with Container(tmp_path / "one", root, config) as container:
        container.run(AEP_EXPORTER_WEB_LISTEN_ADDRESS=address)
        container.until_ready(f"http://{address}/-/ready")
        asked = {**config, "Entrypoint": probe[1:], "Cmd": []}
        with Container(tmp_path / "two", root, asked) as prober:
            prober.run(AEP_EXPORTER_WEB_LISTEN_ADDRESS=address)
            assert prober.wait() == 0, prober.output()
            container.stop()
            prober.run(AEP_EXPORTER_WEB_LISTEN_ADDRESS=address)
            assert prober.wait() == 1


def test_the_image_by_itself_asks_for_an_identity(image: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Without a client id or a token the image, which listens on all addresses, ends with advice."""
    with Container(tmp_path, *image) as container:
        container.run()
        assert container.wait() == 2
        assert "--webhook.client-id" in container.output()
