"""A copy of the project, configured for the emulator."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.upstream_process import ROOT

CHALICE = str(Path(sys.executable).parent / "chalice")
ORIGIN = "https://app.example.com"
DEPLOYED = ("app.py", "chalicelib", "requirements.txt", ".chalice")


def allow_all_parameters(folder: Path) -> None:
    """Let the roles of a project's stages read every parameter.

    The emulator checks `ssm:GetParameters` against the resource `*`, and AWS against each
    parameter that the call names. `test_policy.py` compares the policies with the calls.
    """
    for file in (folder / ".chalice").glob("policy-*.json"):
        policy = json.loads(file.read_text())
        policy["Statement"].append(
            {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*"}
        )
        file.write_text(json.dumps(policy))
    template = folder / ".chalice" / "template.yaml"
    head = "        Statement:\n"
    added = '          - {Effect: Allow, Action: "ssm:GetParameters", Resource: "*"}\n'
    before, found, after = template.read_text().partition(head)
    assert found
    template.write_text(before + head + added + after)


class Project:
    """The files that a deployment needs, in a separate folder.

    Args:
        folder: The folder, which is created.
        settings: Further environment variables of the functions, in every stage.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        folder.mkdir()
        for name in DEPLOYED:
            source = ROOT / name
            if source.is_dir():
                skipped = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
                shutil.copytree(source, folder / name, ignore=skipped)
            else:
                shutil.copy(source, folder / name)
        self.change_config(
            # The emulator runs the functions on this machine's architecture.
            lambda_architecture="arm64" if platform.machine() == "aarch64" else "x86_64"
        )
        for stage in self.config["stages"].values():
            stage["environment_variables"] |= {"ALLOWED_ORIGINS": ORIGIN, **settings}
        self._write()

    @property
    def _config_file(self) -> Path:
        return self.folder / ".chalice" / "config.json"

    def change_config(self, **fields: Any) -> None:
        """Change fields of the configuration that hold for all stages."""
        self.config = json.loads(self._config_file.read_text()) | fields
        self._write()

    def _write(self) -> None:
        self._config_file.write_text(json.dumps(self.config))

    def change_version(self, version: str) -> None:
        """Change the version that the broker reports."""
        document = self.folder / "chalicelib" / "__init__.py"
        changed, count = re.subn(
            r'VERSION = "[0-9.]+"', f'VERSION = "{version}"', document.read_text()
        )
        assert count == 1
        document.write_text(changed)

    def chalice(self, *arguments: str, **environ: str) -> str:
        """Run Chalice as an operator does, and return its output."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [CHALICE, *arguments],
            cwd=self.folder,
            env={**kept, "AWS_DEFAULT_REGION": "us-east-1", **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def package(self, stage: str = "prod", **environ: str) -> Path:
        """Run `chalice package` as a pipeline does, and return the output folder."""
        out = self.folder / "out"
        template = ".chalice/template.yaml"
        self.chalice("package", "--stage", stage, "--merge-template", template, str(out), **environ)
        return out
