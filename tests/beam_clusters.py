"""A Flink and a Spark on this machine, out of `make beam-tools`: masters and workers, each a process of its own.

Each task manager and each Spark worker has a worker pool of Beam's beside it, which it finds as `beside:PORT`, and a
job server takes Beam's jobs. What this lacks of clusters: other hosts, and so a network that breaks and folders that
not all can see.
"""

import abc
import contextlib
import json
import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.services import answers, free_port, running, wait_until

ROOT = Path(__file__).resolve().parent.parent
TOOLS = "ARCFACE_TFX_BEAM_TOOLS"  # names the folder that `make beam-tools` filled
_HOME = (ROOT / os.environ.get(TOOLS, "build/beam-tools")).resolve()
_FLINK = _HOME / "packages" / "pyflink"
_SPARK = _HOME / "packages" / "pyspark"
_JAVA = str(Path(os.environ["JAVA_HOME"]) / "bin" / "java") if "JAVA_HOME" in os.environ else "java"
_SLOTS = 2  # of a task manager: either can take all of a job whose parallelism is 2
# As bin/config.sh and conf/config.yaml of Flink's distribution have it, which the package leaves out.
_OPENED = [
    *(f"--add-exports={name}=ALL-UNNAMED" for name in ("java.base/sun.net.util", "java.rmi/sun.rmi.registry")),
    *(
        f"--add-opens=java.base/java.{name}=ALL-UNNAMED"
        for name in ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
    ),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED",
]
_MEMORY = {  # of a task manager, as bin/taskmanager.sh works it out; 1.1 GB in all
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
_BESIDE = "beside"  # the host of a machine's own worker pool, as that machine's Java knows it
_LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1} %m%n
"""


class Machine(contextlib.ExitStack):
    """A worker of a cluster with its worker pool, at an address of its own: 127.0.0.2 and so on.

    Attributes:
      worker: the process of the task manager, or of Spark's worker.
      pool_log: what the pool said.
    """

    def __init__(self, folder: Path, number: int, pool_port: int) -> None:
        super().__init__()
        self._address = f"127.0.0.{number + 2}"
        self._hosts = folder / f"hosts-{number}"
        self._hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{self._address} {_BESIDE}\n")
        self.pool_log = folder / f"pool-{number}.log"
        self._port = pool_port

    def start(self, command: list[str], log: Path, variables: dict[str, str]) -> None:
        """Starts the pool, and the worker, whose Java finds it."""
        pool = [sys.executable, "-m", "tests.beam_pool", self._address, str(self._port)]
        said_at_once = {"PYTHONUNBUFFERED": "1"}  # before it is killed
        process = self.enter_context(running(pool, self.pool_log, said_at_once))
        wait_until(lambda: answers(self._port, self._address), process, self.pool_log)
        told = {**variables, "JAVA_TOOL_OPTIONS": f"-Djdk.net.hosts.file={self._hosts}"}
        self.worker = self.enter_context(running(command, log, told))


class _Cluster(contextlib.ExitStack):
    """A master, two machines, and Beam's job server.

    Attributes:
      machines: the workers, the one that started last at the end.
      beam_args: what a job on it needs.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._pool_port, self._job_port = free_port(), free_port()
        self.machines: list[Machine] = []
        self.beam_args = [
            f"--job_endpoint=localhost:{self._job_port}",
            f"--environment_config={_BESIDE}:{self._pool_port}",
        ]

    @abc.abstractmethod
    def workers(self) -> int:
        """How many workers the master knows."""

    def _start_master(self, command: list[str], variables: dict[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "master.log"
        master = self.enter_context(running(command, log, variables))
        wait_until(lambda: self.workers() == 0, master, log)

    def _start_machine(self, command: list[str], variables: dict[str, str]) -> None:
        number = len(self.machines)
        log = self._folder / f"worker-{number}.log"
        machine = self.enter_context(Machine(self._folder, number, self._pool_port))
        machine.start(command, log, variables)
        self.machines.append(machine)
        wait_until(lambda: self.workers() > number, machine.worker, log)

    def _start_job_server(self, name: str, words: list[str], options: list[str]) -> None:
        log = self._folder / "job-server.log"
        jar = _HOME / f"{name}-job-server.jar"
        where = ["--job-port", str(self._job_port), "--artifact-port", "0", "--expansion-port", "0"]
        command = [_JAVA, *options, "-jar", str(jar), *words, *where, "--artifacts-dir", str(self._folder / "staged")]
        server = self.enter_context(running(command, log, {"SPARK_LOCAL_IP": "127.0.0.1"}))
        wait_until(lambda: answers(self._job_port), server, log)


class Flink(_Cluster):
    """A session cluster, while it runs: a job manager and two task managers."""

    def __enter__(self) -> "Flink":
        self._rest = free_port()
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.port": self._rest,
            "rest.bind-address": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": _SLOTS,
            "cluster.evenly-spread-out-slots": "true",
            "io.tmp.dirs": str(self._folder),
            # Of 32 KB: 512 for each exchange of a job, by default, and an evaluation has dozens.
            "taskmanager.network.sort-shuffle.min-buffers": 64,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            # A task manager that was killed is missed after seconds, not after 50.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 10000,
        }
        self._folder.mkdir(parents=True)
        (self._folder / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        (self._folder / "log4j.properties").write_text(_LOGGING)
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
            self._start_master([*self._java(entry), "--executionMode", "cluster"], {})
            dynamic = [word for name, value in _MEMORY.items() for word in ("-D", f"{name}={value}")]
            for _ in range(2):
                entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
                self._start_machine([*self._java(entry), *dynamic], {})
            self._start_job_server("flink", ["--flink-master", f"127.0.0.1:{self._rest}"], [])
            stack.pop_all()
        return self

    def workers(self) -> int:
        """How many task managers the job manager knows."""
        return int(self.asked("overview")["taskmanagers"])

    def asked(self, path: str) -> Any:
        """What the REST API answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._rest}/{path}", timeout=30) as answer:
            return json.load(answer)

    def jobs(self) -> dict[str, str]:
        """The state of each job by its number, the first one first."""
        found = sorted(self.asked("jobs/overview")["jobs"], key=lambda job: job["start-time"])
        return {job["jid"]: job["state"] for job in found}

    def _java(self, entry: str) -> list[str]:
        logging = f"-Dlog4j.configurationFile=file:{self._folder}/log4j.properties"
        memory = ["-Xmx512m", "-Xms512m", "-XX:MaxMetaspaceSize=256m"]
        return [_JAVA, *memory, *_OPENED, logging, "-cp", f"{_FLINK}/lib/*", entry, "--configDir", str(self._folder)]


class Spark(_Cluster):
    """A standalone cluster, while it runs: a master and two workers."""

    def __enter__(self) -> "Spark":
        port, self._page = free_port(), free_port()
        url = f"spark://127.0.0.1:{port}"
        variables = {"SPARK_HOME": str(_SPARK), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
        here = ["--host", "127.0.0.1"]
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            where = ["--port", str(port), "--webui-port", str(self._page)]
            self._start_master([*self._daemon("master.Master"), *here, *where], variables)
            for _ in range(2):
                what = ["--cores", "1", "--memory", "1g", "--webui-port", str(free_port())]
                folder = ["--work-dir", str(self._folder / "work")]
                self._start_machine([*self._daemon("worker.Worker"), *here, *what, *folder, url], variables)
            self._start_job_server("spark", ["--spark-master-url", url], ["-Dspark.executor.memory=768m"])
            stack.pop_all()
        return self

    def workers(self) -> int:
        """How many workers the master knows."""
        return int(self.asked()["aliveworkers"])

    def asked(self) -> Any:
        """What the master's page says as JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/json/", timeout=30) as answer:
            return json.load(answer)

    def _daemon(self, entry: str) -> list[str]:
        return [str(_SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{entry}"]
