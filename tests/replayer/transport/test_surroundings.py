import socket
from pathlib import Path

import pytest

from replayer.rails import Holder
from replayer.target import parse_target
from replayer.transport.surroundings import holders, look_around

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def proc_with(root: Path, *, port: int, inode: int, uid: int = 1000, state: str = "0A") -> Path:
    (root / "net").mkdir()
    line = f"   0: 0100007F:{port:04X} 00000000:0000 {state} 0:0 00:0 0 {uid} 0 {inode} 1\n"
    (root / "net" / "tcp").write_text(HEAD + line)
    return root


def add_process(root: Path, pid: int, command: str, *words: str, inode: int | None = None) -> Path:
    process = root / str(pid)
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text(command + "\n")
    (process / "cmdline").write_bytes(b"\0".join(word.encode() for word in words))
    if inode is not None:
        (process / "fd" / "7").symlink_to(f"socket:[{inode}]")
    return process


def test_who_listens_is_found_by_the_socket_it_holds(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, port=8080, inode=42)
    add_process(proc, 10, "kubectl", "kubectl", "port-forward", inode=42)
    add_process(proc, 11, "python3", "python3", inode=43)

    assert list(holders(8080, proc)) == [Holder("kubectl", ("kubectl", "port-forward"))]
    assert list(holders(8081, proc)) == []


def test_a_connection_is_not_a_listener(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, port=8080, inode=42, state="01")
    add_process(proc, 10, "kubectl", inode=42)

    assert list(holders(8080, proc)) == []


def test_another_users_process_is_taken_at_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = proc_with(tmp_path, port=8080, inode=42, uid=tmp_path.stat().st_uid)
    add_process(proc, 10, "kubectl", "kubectl", "port-forward", "svc/model", "8080:80")
    add_process(proc, 11, "sshd", "sshd", "-D")
    add_process(proc, 12, "other", "other", "18080")

    def not_yours(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", not_yours)

    assert [holder.command for holder in holders(8080, proc)] == ["kubectl"]


def test_where_there_is_no_proc_nobody_is_known(tmp_path: Path) -> None:
    assert list(holders(8080, tmp_path)) == []


def test_this_very_process_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        around = look_around(parse_target(f"http://127.0.0.1:{server.getsockname()[1]}"))

    assert around.addresses == ("127.0.0.1",)
    assert len(around.holders) == 1


def test_a_name_nobody_knows_has_no_address() -> None:
    assert look_around(parse_target("http://nowhere.invalid")).addresses == ()
