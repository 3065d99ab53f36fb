package fakeroot

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// statusField returns a line of /proc/PID/status, the working directory being
// /proc; empty if there is none.
func statusField(pid uint32, name string) string {
	b, err := os.ReadFile(strconv.Itoa(int(pid)) + "/status")
	if err != nil {
		return ""
	}
	_, b, ok := bytes.Cut(b, []byte("\n"+name+":\t"))
	if !ok {
		return ""
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line)
}

// comm returns the name of the calling thread, of at most 15 bytes.
func (w *worker) comm() string {
	b, _ := os.ReadFile(strconv.Itoa(int(w.req.pid)) + "/comm")
	return strings.TrimSuffix(string(b), "\n")
}

// threadGroup returns the process of the calling thread, 0 if it is gone.
func (w *worker) threadGroup() int {
	n, _ := strconv.Atoi(statusField(w.req.pid, "Tgid"))
	return n
}

// pidSeenBy returns the number of a process in its own PID namespace, which is
// the container's; 0 if it is gone.
func (w *worker) pidSeenBy(pid int32) uint32 {
	numbers := strings.Fields(statusField(uint32(pid), "NSpid"))
	if len(numbers) == 0 {
		return 0
	}
	n, _ := strconv.ParseUint(numbers[len(numbers)-1], 10, 32)
	return uint32(n)
}
