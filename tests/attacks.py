"""Programs that try to get out of a sandbox; plain Python, so that they run under any interpreter inside."""

CONNECT = """
import socket, sys
kind, address = sys.argv[1], sys.argv[2]
if kind == "udp":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"stolen", ("127.0.0.1", int(address)))
else:
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    target = ("127.0.0.1", int(address)) if kind == "tcp" else address.replace("@", "\\0")
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.connect(target)
        client.sendall(b"stolen")
print("reached")
"""

# A socket that never was asked for with socket(): the ring makes it and connects it (IORING_OP_SOCKET and _CONNECT).
IO_URING = """
import ctypes, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*words):
    found = libc.syscall(*(word if isinstance(word, ctypes.Array) else ctypes.c_long(word) for word in words))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
params = ctypes.create_string_buffer(120)
ring = call(425, 4, params)
entries, completions = struct.unpack_from("II", params.raw)
head, tail, mask, _, _, _, array = struct.unpack_from("7I", params.raw, 40)
_, _, cq_mask, _, _, cqes = struct.unpack_from("6I", params.raw, 80)
size = max(array + entries * 4, cqes + completions * 16)
queue, slots = mmap.mmap(ring, size), mmap.mmap(ring, entries * 64, offset=0x10000000)
done = 0
def submit(operation, fd, address, length, offset):
    global done
    at = (done & struct.unpack_from("I", queue, mask)[0])
    slots[at * 64:at * 64 + 64] = struct.pack("=BBHiQQII", operation, 0, 0, fd, offset, address, length, 0) + bytes(32)
    struct.pack_into("I", queue, array + at * 4, at)
    struct.pack_into("I", queue, tail, done + 1)
    call(426, ring, 1, 1, 1, 0, 0)
    result = struct.unpack_from("=Qi", queue, cqes + (done & struct.unpack_from("I", queue, cq_mask)[0]) * 16)[1]
    done += 1
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result
client = submit(45, 1, 0, 0, 1)
target = struct.pack("H", 1) + sys.argv[1].encode() + b"\\0"
memory = ctypes.create_string_buffer(target)
submit(16, client, ctypes.addressof(memory), 0, len(target))
os.write(client, b"stolen")
print("reached")
"""

# What the kernel answers to calls that lead out of, or into, namespaces and other processes; one line each.
CALLS = """
import ctypes, os, platform, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
arm = platform.machine() == "aarch64"
def told(name, found):
    print(name, "done" if found >= 0 else ctypes.get_errno(), flush=True)
    return found
def call(number, *words):
    return libc.syscall(*(ctypes.c_long(word) for word in (number, *words)))
def in_child(name, work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    os.waitpid(pid, 0)
def cloned():
    if told("clone_new_user", call(220 if arm else 56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)) == 0:
        os._exit(0)
sleeper = os.fork()
if sleeper == 0:
    signal.pause()
told("ptrace", call(117 if arm else 101, 16, sleeper, 0, 0))
local = ctypes.create_string_buffer(8)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(local), 8)
told("process_vm_readv", call(270 if arm else 310, sleeper, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0))
os.kill(sleeper, signal.SIGKILL)
in_child("unshare", lambda: told("unshare_new_user", call(97 if arm else 272, 0x10000000)))
in_child("clone", cloned)
told("vsock", call(198 if arm else 41, 40, 1, 0))
told("datagram_pair", call(199 if arm else 53, 1, 2, 0, ctypes.addressof(local)))
told("stream_pair", call(199 if arm else 53, 1, 1, 0, ctypes.addressof(local)))
told("add_key", call(217 if arm else 248, 0, 0, 0, 0, 0))
told("bpf", call(280 if arm else 321, 99, 0, 0))
told("perf_event_open", call(241 if arm else 298, 0, 0, -1, -1, 0))
told("io_uring_setup", call(425, 1, 0))
told("x32_getpid", call(0x40000000 | 39))
"""

# getpid as a 32-bit program asks for it, from 64-bit code: mov eax, 20; int 0x80; ret.
FOREIGN = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("answered")
"""

FORKS = """
import os, signal, sys
children = []
for _ in range(int(sys.argv[1])):
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        signal.pause()
    children.append(pid)
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
"""

# Leaves its session twice over, closes what it holds, and calls itself by a name that can be looked for.
ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.execv("/bin/sleep", [sys.argv[1], "300"])
    os._exit(0)
os.wait()
print("left", flush=True)
if sys.argv[2] == "stay":
    time.sleep(300)
"""
