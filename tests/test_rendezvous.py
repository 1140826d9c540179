"""The processes of a job come together, or each of them says which one was missing, wrong or there twice."""

import socket
import threading
import time

import jax
import pytest

from pathstar.devices import hosts
from pathstar.devices.rendezvous import meet
from pathstar.errors import UserError


@pytest.fixture
def port():
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def outcomes(port, processes, seconds=1.0):
  """What each of the processes, (number, count) each, is told; "" if all is well. Started in this order, a moment apart."""
  said = [None] * len(processes)

  def one(place, me, count):
    try:
      meet(f"localhost:{port}", count, me, seconds)
      said[place] = ""
    except UserError as error:
      said[place] = str(error)

  threads = [threading.Thread(target=one, args=(place, *process)) for place, process in enumerate(processes)]
  for thread in threads:
    thread.start()
    time.sleep(0.1)
  for thread in threads:
    thread.join(20)
  return said


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_all_are_there_whoever_comes_first_and_the_port_is_free_again(port, order):
  assert outcomes(port, [(me, 3) for me in order], 20) == ["", "", ""]
  with socket.create_server(("", port)):
    pass


@pytest.mark.parametrize("processes, problem, of", [
    ([(0, 3), (1, 3)], "no word of process 2", [0, 1]),
    ([(1, 2)], "process 0 did not answer", [0]),
    ([(0, 3), (1, 3), (1, 3)], "two processes say that they are process 1", [0, 1, 2]),
    ([(0, 2), (1, 3)], "process 1 says that there are 3 processes", [0, 1]),
    ([(0, 2), (0, 2), (1, 2)], "can't listen on port", [1]),
])
def test_what_is_wrong_is_said_on_every_process(port, processes, problem, of):
  said = outcomes(port, processes)
  assert [place for place, text in enumerate(said) if text] == of
  assert all(f"--distributed: process {processes[place][0]} of {processes[place][1]} at localhost:{port}: {problem}" in said[place]
             for place in of)


def test_a_port_that_somebody_else_has_is_said(port):
  with socket.create_server(("", port)) as server:
    def answer():
      while True:
        try:
          with server.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
        except OSError:
          return

    threading.Thread(target=answer, daemon=True).start()
    [said] = outcomes(port, [(1, 2)])
    assert "what answers there is no process of a job of pathstar" in said
    [said] = outcomes(port, [(0, 2)])
    assert f"can't listen on port {port} (address already in use): give another port" in said


def test_strangers_are_passed_over(port):
  def knock():
    time.sleep(0.3)
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"[1]\n", b'{"process": "x"}\n', b""):
      with socket.create_connection(("localhost", port)) as stranger:
        stranger.sendall(words)

  threading.Thread(target=knock).start()
  said = [None]
  first = threading.Thread(target=lambda: said.__setitem__(0, outcomes(port, [(0, 2)], 20)))
  first.start()
  time.sleep(1)
  assert outcomes(port, [(1, 2)], 20) == [""]
  first.join(20)
  assert said == [[""]]


def test_processes_of_a_cluster_meet_too(monkeypatch):
  met, started = [], []
  monkeypatch.setattr(hosts.rendezvous, "meet", lambda *told: met.append(told))
  monkeypatch.setattr("jax.distributed.initialize", lambda **told: started.append(told))
  monkeypatch.setattr(jax.config, "update", lambda *change: None)
  slurm = {"JOB_ID": "7", "STEP_NODELIST": "node[001-002]", "NTASKS": "2", "PROCID": "1", "LOCALID": "0", "STEP_NUM_NODES": "2"}
  with monkeypatch.context() as patch:
    for name, value in slurm.items():
      patch.setenv(f"SLURM_{name}", value)
    hosts.join(hosts.AUTO)
  assert [told[1:3] for told in met] == [(2, 1)] and met[0][0].startswith("node001:") and len(started) == 1
  with pytest.raises(UserError, match="no cluster was found; under SLURM start the processes by srun"):
    hosts.join(hosts.AUTO)


def test_what_asked_for_a_job_without_a_cluster_is_named(monkeypatch):
  monkeypatch.setattr(jax.config, "update", lambda *change: None)
  with monkeypatch.context() as patch:
    patch.setenv("JAX_COORDINATOR_ADDRESS", "localhost")
    with pytest.raises(UserError, match="JAX_COORDINATOR_ADDRESS = 'localhost': must be ADDRESS:PORT"):
      hosts.join(hosts.AUTO)
  monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
  with pytest.raises(UserError, match="^TPU_WORKER_HOSTNAMES = 'a,b': no cluster was found"):
    hosts.join(None)
