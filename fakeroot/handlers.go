package fakeroot

import (
	"strings"

	"golang.org/x/sys/unix"
)

// handlers maps system calls to what answers them. An argument's meaning is
// told here, so that the handlers read as the manual pages do.
func handlers() map[string]handler {
	m := map[string]handler{}
	credentialHandlers(m)
	fileHandlers(m)
	lookHandlers(m)
	m["execve"] = func(w *worker) reply { return w.exec(pathTarget(w.req.args[0], false)) }
	m["execveat"] = func(w *worker) reply {
		return w.exec(atFlags(w.req.args[0], w.req.args[1], w.req.args[4]))
	}
	m["chroot"], m["pivot_root"], m["setns"] = goesElsewhere, goesElsewhere, goesElsewhere
	m["unshare"] = func(w *worker) reply { return w.unshares(w.req.args[0]) }
	m["clone"] = func(w *worker) reply { return w.unshares(w.req.args[w.arch().cloneFlags]) }
	m["getsockopt"] = peercred
	return m
}

func credentialHandlers(m map[string]handler) {
	both := func(name string, h handler) { m[name], m[name+"32"] = h, h }
	both("setuid", setUID(setOne))
	both("setreuid", setUID(setTwo))
	both("setresuid", setUID(setThree))
	both("setgid", setGID(setOne))
	both("setregid", setGID(setTwo))
	both("setresgid", setGID(setThree))
	both("setfsuid", setfsuid)
	both("setfsgid", setfsgid)
	both("setgroups", setgroups)
	both("getuid", getID(func(id *identity) uint32 { return id.uid.real }))
	both("geteuid", getID(func(id *identity) uint32 { return id.uid.effective }))
	both("getgid", getID(func(id *identity) uint32 { return id.gid.real }))
	both("getegid", getID(func(id *identity) uint32 { return id.gid.effective }))
	both("getresuid", getThree(func(id *identity) ids { return id.uid }))
	both("getresgid", getThree(func(id *identity) ids { return id.gid }))
	both("getgroups", getgroups)
	m["capget"], m["capset"], m["prctl"] = capget, capset, keepcaps
}

func fileHandlers(m map[string]handler) {
	both := func(name string, h handler) { m[name], m[name+"32"] = h, h }
	both("chown", func(w *worker) reply { return w.chown(pathTarget(w.req.args[0], false), 1) })
	both("lchown", func(w *worker) reply { return w.chown(pathTarget(w.req.args[0], true), 1) })
	both("fchown", func(w *worker) reply { return w.chown(handleTarget(w.req.args[0]), 1) })
	m["fchownat"] = func(w *worker) reply {
		return w.chown(atFlags(w.req.args[0], w.req.args[1], w.req.args[4]), 2)
	}
	m["mknod"] = func(w *worker) reply {
		return w.mknod(pathTarget(w.req.args[0], true), uint32(w.req.args[1]), w.req.args[2])
	}
	m["mknodat"] = func(w *worker) reply {
		return w.mknod(atFlags(w.req.args[0], w.req.args[1], 0), uint32(w.req.args[2]), w.req.args[3])
	}
	m["mkdir"] = func(w *worker) reply { return w.mkdir(pathTarget(w.req.args[0], true), w.req.args[1]) }
	m["mkdirat"] = func(w *worker) reply {
		return w.mkdir(atFlags(w.req.args[0], w.req.args[1], 0), w.req.args[2])
	}
	m["symlink"] = func(w *worker) reply { return w.symlink(w.req.args[0], pathTarget(w.req.args[1], true)) }
	m["symlinkat"] = func(w *worker) reply {
		return w.symlink(w.req.args[0], atFlags(w.req.args[1], w.req.args[2], 0))
	}
	m["creat"] = func(w *worker) reply {
		return w.create(pathTarget(w.req.args[0], false), unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, w.req.args[1])
	}
	m["open"] = func(w *worker) reply {
		return w.create(pathTarget(w.req.args[0], false), w.req.args[1], w.req.args[2])
	}
	m["openat"] = func(w *worker) reply {
		return w.create(atFlags(w.req.args[0], w.req.args[1], 0), w.req.args[2], w.req.args[3])
	}
	m["openat2"] = openHow
	m["bind"] = bind
	for _, kind := range []string{"", "l", "f"} {
		at := xattrTarget(kind)
		m[kind+"setxattr"] = func(w *worker) reply { return w.setxattr(at(w)) }
		m[kind+"getxattr"] = func(w *worker) reply { return w.getxattr(at(w)) }
		m[kind+"listxattr"] = func(w *worker) reply { return w.listxattr(at(w)) }
		m[kind+"removexattr"] = func(w *worker) reply { return w.removexattr(at(w)) }
	}
}

// xattrTarget finds the file of setxattr, lsetxattr or fsetxattr and the like.
func xattrTarget(kind string) func(w *worker) target {
	return func(w *worker) target {
		if kind == "f" {
			return handleTarget(w.req.args[0])
		}
		return pathTarget(w.req.args[0], kind == "l")
	}
}

func lookHandlers(m map[string]handler) {
	for _, suffix := range []string{"", "64"} {
		m["stat"+suffix] = func(w *worker) reply { return w.look(pathTarget(w.req.args[0], false), w.req.args[1]) }
		m["lstat"+suffix] = func(w *worker) reply { return w.look(pathTarget(w.req.args[0], true), w.req.args[1]) }
		m["fstat"+suffix] = func(w *worker) reply { return w.look(handleTarget(w.req.args[0]), w.req.args[1]) }
	}
	at := func(w *worker) reply {
		return w.look(atFlags(w.req.args[0], w.req.args[1], w.req.args[3]), w.req.args[2])
	}
	m["newfstatat"], m["fstatat64"] = at, at
	m["statx"] = func(w *worker) reply {
		return w.lookx(atFlags(w.req.args[0], w.req.args[1], w.req.args[2]), uint32(w.req.args[3]), w.req.args[4])
	}
}

// hasShortIDs tells the calls that have 16-bit ids where there is a "32"
// variant of them.
func hasShortIDs(name string) bool {
	for _, row := range callNumbers {
		if row.name == name+"32" {
			return !strings.HasSuffix(name, "32")
		}
	}
	return false
}

// goesElsewhere: the process will have another root or other mounts.
func goesElsewhere(w *worker) reply {
	id := w.identity()
	if !id.elsewhere {
		id.elsewhere = true
		w.become(id)
	}
	return leave
}

// unshares is unshare(2), or clone(2) for the child, of which the parent's mark
// is a harmless copy: its paths are resolved the slow way.
func (w *worker) unshares(flags uint64) reply {
	id := w.identity()
	n := id
	n.elsewhere = n.elsewhere || flags&unix.CLONE_NEWNS != 0
	n.nested = n.nested || flags&unix.CLONE_NEWUSER != 0 && w.isUnshare()
	if n != id {
		w.become(n)
	}
	return leave
}

// isUnshare tells unshare(2), which changes the caller, from clone(2).
func (w *worker) isUnshare() bool {
	nr, _ := callNumber("unshare", w.abi)
	return uint32(w.req.nr) == nr
}
