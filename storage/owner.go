package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process that cannot be looked at, being of another machine or another PID
// namespace, is judged by its signs of life: the times of its directory in
// tmp/, set every heartbeat. Without one for liveAge, what it has not written
// out to disk is not believed any more; without one for foreignAge its work
// in progress is removed. Only a process that was stopped for days, or clocks
// that differ by days, can lose work; with clocks minutes apart some is done
// twice.
const (
	heartbeat  = time.Minute
	liveAge    = 5 * time.Minute
	foreignAge = 72 * time.Hour
)

// owner identifies a process for ever and everywhere: pids are reused, boots
// repeat start times, and machines and containers share storage.
type owner struct {
	host    string // for people
	pid     int
	start   uint64 // clock ticks after boot, proc_pid_stat(5) field 22
	machine string // 8 hexadecimal digits for machine-id(5) and host name
	boot    string // 8 of /proc/sys/kernel/random/boot_id
	pidns   uint64 // inode of the PID namespace
}

// self finds out who this process is. Nothing that is missing (no /proc, no
// machine-id) is an error: the rest tells less and dead is more careful.
func self() owner {
	o := owner{pid: os.Getpid(), host: "localhost"}
	name, err := os.Hostname()
	if err == nil && name != "" {
		o.host = strings.Map(hostRune, name)
		o.host = o.host[:min(len(o.host), 64)]
	}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.boot = short(string(b))
	} else {
		o.boot = short("")
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(bytes.TrimSpace(id)) == 0 {
		// Without it, machines of one name are told apart by their boots, and
		// another boot of the same machine counts as another machine.
		id = []byte(o.boot)
	}
	o.machine = short(string(id) + name)
	o.start, _, _ = procStat(o.pid)
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) == nil {
		o.pidns = st.Ino
	}
	return o
}

// hostRune keeps what a file name and the fields of an owner's name allow.
func hostRune(r rune) rune {
	if r > ' ' && r < 0x7f && r != '/' && r != '-' {
		return r
	}
	return '_'
}

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// String is the owner's part of a name in tmp/; parseOwner reads it.
func (o owner) String() string {
	return fmt.Sprintf("%s-%d-%d-%s-%s-%d", o.host, o.pid, o.start, o.machine, o.boot, o.pidns)
}

// bootID names the boot of this machine in records.
func (o owner) bootID() string { return o.machine + "/" + o.boot }

// parseOwner reads the name of a session's directory, OWNER-RANDOM.
func parseOwner(name string) (o owner, ok bool) {
	f := strings.Split(name, "-")
	if len(f) != 7 {
		return o, false
	}
	o.host, o.machine, o.boot = f[0], f[3], f[4]
	var errs [3]error
	o.pid, errs[0] = strconv.Atoi(f[1])
	o.start, errs[1] = strconv.ParseUint(f[2], 10, 64)
	o.pidns, errs[2] = strconv.ParseUint(f[5], 10, 64)
	return o, errs == [3]error{} && o.pid > 0
}

// dead reports whether o is known to have ended, seen from me; age is the
// time since its last sign of life.
func (o owner) dead(me owner, age time.Duration) bool {
	switch {
	case o.machine != me.machine:
		return age > foreignAge
	case o.boot != me.boot:
		return true
	case o.pidns != me.pidns:
		return age > foreignAge
	case unix.Kill(o.pid, 0) == unix.ESRCH:
		return true
	}
	start, zombie, err := procStat(o.pid)
	return err == nil && (zombie || o.start != 0 && start != o.start)
}

// procStat reads a process's start time, and whether it is only waiting to be
// reaped.
func procStat(pid int) (start uint64, zombie bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// Field 2 is the name in parentheses, and may hold anything.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const state, threads, starttime = 3 - 3, 20 - 3, 22 - 3
	if len(f) <= starttime {
		return 0, false, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(f))
	}
	start, err = strconv.ParseUint(f[starttime], 10, 64)
	// A leader that has ended while other threads go on is a Z as well.
	zombie = (f[state] == "Z" || f[state] == "X") && (f[threads] == "0" || f[threads] == "1")
	return start, zombie, err
}
