"""The deployment files are checked as far as they can be without a container engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.provisioning import BOARDS, datasource
from lamplighter.credentials import ENVIRONMENT, INGEST, new_environment
from lamplighter.init import write_house
from lamplighter.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PUBLISHED = {"mosquitto": "8883", "lamplighter": "8080", "grafana": "3000"}
Json = dict[str, Any]


class MissingError(Exception):
    """What docker compose says when a required variable is unset or empty."""


def substituted(text: str, environment: Mapping[str, str]) -> str:
    """Put variables in as docker compose does: ``$$``, ``${X}``, ``${X:-default}``, ``${X:?message}``."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, operator, rest = match[1], match[2] or "", match[3] or ""
        found = environment.get(name, "")
        if operator == ":?" and not found:
            raise MissingError(f"required variable {name} is missing a value: {rest}")
        if operator == ":-":
            return found or rest
        assert operator in ("", ":?"), f"{match[0]}: a form that this test does not know"
        return found

    return re.sub(r"\$\$|\$\{(\w+)(:[?-])?([^}]*)\}", value, text)


def loaded(environment: Mapping[str, str]) -> Json:
    plain = "\n".join(line for line in COMPOSE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    found: Json = yaml.safe_load(substituted(plain, environment))
    return found


@pytest.fixture(scope="module")
def complete() -> dict[str, str]:
    return {**new_environment(), "LAMPLIGHTER_HOUSE": "./house"}


@pytest.fixture(scope="module")
def compose(complete: dict[str, str]) -> Json:
    return loaded(complete)


@pytest.mark.parametrize("name", [*ENVIRONMENT, "LAMPLIGHTER_HOUSE"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_it_refuses_to_start_without_each_secret(complete: dict[str, str], name: str, how: str) -> None:
    environment = dict(complete)
    if how == "absent":
        del environment[name]
    else:
        environment[name] = ""
    with pytest.raises(MissingError, match=name):
        loaded(environment)


def test_init_makes_exactly_the_secrets_that_are_asked_for() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text(encoding="utf-8")))
    assert asked == {*ENVIRONMENT, "LAMPLIGHTER_HOUSE"}
    example = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    assert asked <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    optional = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text(encoding="utf-8")))
    assert optional == set(re.findall(r"^#(\w+)=", example, re.MULTILINE))


def test_the_example_environment_holds_no_secret() -> None:
    example = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    for name in ENVIRONMENT:
        assert re.search(rf"^{name}=$", example, re.MULTILINE), f"{name} must be empty in the example"


def test_what_init_writes_starts_it_with_the_secrets_that_the_settings_hold(tmp_path: Path) -> None:
    house = tmp_path / "house"
    assert list(write_house(house, "linjiang", [], "influxdb"))
    lines = (house / ".env").read_text(encoding="utf-8").splitlines()
    environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    services = loaded(environment)["services"]
    settings = load_settings(house / "lamplighter.yaml")
    given = services["lamplighter"]["environment"]
    assert given["LAMPLIGHTER_BROKER__PASSWORD"] == settings.broker.password
    assert given["LAMPLIGHTER_STORE__TOKEN"] == settings.store.token
    assert given["LAMPLIGHTER_API__TOKEN"] == settings.api.token
    for service in services.values():
        for volume in service["volumes"]:
            source = str(volume).split(":")[0]
            assert not source.startswith("/") or Path(source).exists(), source
    private = [house / ".env", house / "lamplighter.yaml", *(house / "mosquitto").iterdir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_no_secret_stands_in_the_file_itself() -> None:
    for name, service in yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET", key):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{name}: {key}"


def test_only_the_documented_ports_are_published_and_on_loopback(compose: Json, complete: dict[str, str]) -> None:
    published = {}
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            host, outside, inside = str(port).rsplit(":", 2)
            assert host == "127.0.0.1", f"{name} listens on {host}"
            assert outside == inside
            published[name] = inside
    assert published == PUBLISHED
    opened = loaded({**complete, "LAMPLIGHTER_MQTT_BIND": "0.0.0.0"})
    assert opened["services"]["mosquitto"]["ports"] == ["0.0.0.0:8883:8883"]


def test_every_container_is_confined_and_bounded(compose: Json) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert {"mem_limit", "cpus", "pids_limit"} <= set(service), name
        assert service["logging"]["options"]["max-size"], name
        assert not any("docker.sock" in str(volume) for volume in service["volumes"]), name
        for mount in service.get("tmpfs", []):
            assert {"noexec", "nosuid"} <= set(mount.partition(":")[2].split(",")), f"{name}: {mount}"
        if name != "boards":
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_no_container_runs_as_root(compose: Json) -> None:
    for name, service in compose["services"].items():
        if "build" in service:
            continue
        uid = int(str(service["user"]).partition(":")[0])
        assert uid > 0, name
    users = re.findall(r"^USER (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users
    assert int(users[-1].partition(":")[0]) > 0


def test_every_image_is_pinned_to_a_full_version(compose: Json) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for image in images:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", image), f"{image} is not pinned"
    assert any(image.startswith("influxdb:2.7.") for image in images)


def test_mounted_files_exist_and_named_volumes_are_declared(compose: Json) -> None:
    used = set()
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source, target, *mode = str(volume).split(":")
            assert target.startswith("/"), f"{name}: {volume}"
            if source.startswith("./house"):
                assert mode == ["ro"], f"{name}: what init wrote is only read"
            elif source.startswith("./"):
                assert (ROOT / source).is_file(), f"{name}: {source}"
                assert mode == ["ro"], f"{name}: {volume}"
            else:
                used.add(source)
    assert used == set(compose["volumes"])


def test_networks_keep_the_database_and_the_inner_listener_from_the_outside(compose: Json) -> None:
    on = {name: set(service.get("networks", [])) for name, service in compose["services"].items()}
    assert compose["networks"]["broker"]["internal"] is True
    assert compose["networks"]["store"]["internal"] is True
    assert on["influxdb"] == {"store"}
    assert on["grafana"].isdisjoint({"broker", "field"})
    assert on["mosquitto"].isdisjoint({"store", "desk"})
    assert compose["services"]["boards"]["network_mode"] == "none"
    assert set().union(*on.values()) == set(compose["networks"])


def test_lamplighter_understands_every_variable_that_it_is_given(
    compose: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = compose["services"]["lamplighter"]["environment"]
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    settings = Settings()
    assert settings.broker.host == "mosquitto"
    assert settings.broker.username == INGEST
    assert settings.broker.password == given["LAMPLIGHTER_BROKER__PASSWORD"]
    assert settings.store.kind == "influxdb"
    assert settings.store.token == given["LAMPLIGHTER_STORE__TOKEN"]
    assert settings.api.token == given["LAMPLIGHTER_API__TOKEN"]
    parts = set(Settings.model_fields)
    for name in given:
        key = name.removeprefix("LAMPLIGHTER_").lower().split("__")
        assert key[0] in parts, name
        if len(key) == 2:
            assert key[1] in type(getattr(settings, key[0])).model_fields, name


def test_grafana_is_given_everything_that_its_provisioning_asks_for(compose: Json) -> None:
    grafana = compose["services"]["grafana"]
    asked = set(re.findall(r"\$\{(\w+)\}", yaml.safe_dump(datasource())))
    assert asked
    assert asked <= set(grafana["environment"])
    (mount,) = [volume for volume in grafana["volumes"] if str(volume).startswith("boards:")]
    folder = str(mount).split(":")[1]
    assert f"{folder}/boards" == BOARDS
    assert grafana["environment"]["GF_PATHS_PROVISIONING"] == f"{folder}/provisioning"
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{BOARDS}/house.json"


def test_mosquittos_configuration_lies_where_compose_puts_it(compose: Json) -> None:
    text = (ROOT / "deploy" / "mosquitto.conf").read_text(encoding="utf-8")
    targets = [str(volume).split(":")[1] for volume in compose["services"]["mosquitto"]["volumes"]]
    for path in re.findall(r"^\w+ (/\S+)$", text, re.MULTILINE):
        assert any(path.startswith(target.rstrip("/")) for target in targets), path
    settings = dict(re.findall(r"^(\w+) (.+)$", text, re.MULTILINE))
    assert settings["allow_anonymous"] == "false"
    assert settings["max_queued_messages"] == "0", "the default of 1000 drops silently"
    assert "certfile" in settings


def test_the_dockerfile_copies_only_what_exists_and_every_room() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = []
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        copied += sources
    for source in copied:
        assert (ROOT / source).exists(), source
    rooms = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert rooms <= {source.rstrip("/") for source in copied}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert {source.split("/")[0] for source in copied} <= kept
    assert "--require-hashes" in text


def test_what_the_image_holds_is_enough_to_check_rules_and_build_boards(tmp_path: Path) -> None:
    image = tmp_path / "opt"
    image.mkdir()
    last_stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    for line in re.findall(r"^COPY (?!--from)(.+)$", last_stage, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, image / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, image / target)
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(image), "PYTHONDONTWRITEBYTECODE": "1"}
    for arguments in (["rules", "check"], ["dashboards", "build", "--out", str(home / "boards"), "--language", "en"]):
        done = subprocess.run(
            [sys.executable, "-m", "lamplighter", *arguments],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert str(ROOT) not in done.stdout, "it reads the image's own files, not the checkout's"
    assert (home / "boards" / "boards" / "house.json").is_file()


def test_systemd_accepts_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not here")
    shipped = (ROOT / "deploy" / "lamplighter.service").read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(\S+) ", shipped, re.MULTILINE)
    assert program
    unit = tmp_path / "lamplighter.service"
    unit.write_text(shipped.replace(program[1], "/bin/true").replace("file:///opt/lamplighter", "file:///opt"))
    checked = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in checked.stderr.splitlines() if "lamplighter" in line]
    assert not ours, checked.stderr
    exposure = subprocess.run(
        [tool, "security", "--no-pager", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposure.returncode == 0, exposure.stdout[-300:]


def test_the_certificate_script_makes_a_certificate_for_the_given_names(tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("openssl is not here")
    script = str(ROOT / "deploy" / "certificates.sh")
    folder = tmp_path / "broker"
    make = ["sh", script, str(folder), "broker.example.org", "10.0.0.1"]
    subprocess.run(make, check=True, capture_output=True)
    authority, first = (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()
    subprocess.run(make, check=True, capture_output=True)
    assert (folder / "ca.pem").read_bytes() == authority, "a second run keeps the authority"
    assert (folder / "server.pem").read_bytes() != first, "and renews the server's certificate"
    assert (folder / "server.key").stat().st_mode & 0o077 == 0
    ca, server = str(folder / "ca.pem"), str(folder / "server.pem")
    for check in (["-verify_hostname", "broker.example.org"], ["-verify_ip", "10.0.0.1"]):
        subprocess.run([tool, "verify", "-x509_strict", *check, "-CAfile", ca, server], check=True, capture_output=True)
    refused = subprocess.run(["sh", script, str(folder), "bad name"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "bad name" in refused.stderr
