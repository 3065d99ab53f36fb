package unpriv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterOn gives a verdict on one call and allows all others.
func filterOn(nr, verdict uint32) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: verdict},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
}

// answerAll answers the calls on a listener with value, as long as there is
// somebody to make them.
func answerAll(listener int, value int64) error {
	for {
		p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return nil
		}
		var req [80]byte // struct seccomp_notif
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&req)))
		if errno != 0 {
			continue
		}
		resp := struct { // struct seccomp_notif_resp
			id    uint64
			value int64
			errno int32
			flags uint32
		}{id: *(*uint64)(unsafe.Pointer(&req)), value: value}
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&resp)))
	}
}

func TestFilter(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "ppid")
	c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	if got := runOK(t, c); got != "-1\n" {
		t.Errorf("got %q", got)
	}
	c.Process.User.UID = 5 // nobody but a namespace can show it
	c.Process.Args = []string{"helper", "show", "ids", "Seccomp"}
	if got := runOK(t, c); got != "5 0 []\n2\n" {
		t.Errorf("a user without supervisor: got %q", got)
	}
	c.Process.User.UID = 0
	c.SelfTest = &Call{Nr: unix.SYS_GETPPID}
	c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_ERRNO) // the call "succeeds"
	runOK(t, c)
	c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	if _, _, err := runOutput(t, c); err == nil || !strings.HasPrefix(err.Error(), "test the seccomp filter: ") {
		t.Errorf("a filter that fails its test: %v", err)
	}
	c.Filter = []unix.SockFilter{{}} // no program ends so
	if _, status, err := runOutput(t, c); !errors.Is(err, unix.EINVAL) || err.Error() != "install the seccomp filter: invalid argument" {
		t.Errorf("bad filter: %v, %v", status, err)
	}
}

func TestSupervise(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	writeFile(t, root+"/inside", "")
	before := mountTable(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := container(root, "ppid")
			c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_USER_NOTIF)
			c.Process.User.UID = 5 // the supervisor's business
			c.Supervise = func(listener int) error {
				if _, err := os.Stat("/inside"); err != nil {
					t.Errorf("the supervisor is not in the root: %v", err)
				}
				if _, err := os.Stat("/dev/pts/ptmx"); err != nil {
					t.Errorf("the supervisor does not see the mounts: %v", err)
				}
				if unix.Gettid() == unix.Getpid() {
					t.Error("the supervisor has the main thread")
				}
				return answerAll(listener, 4711)
			}
			if got := runOK(t, c); got != "4711\n" {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
	if after := mountTable(t); after != before {
		t.Errorf("mounts changed from\n%s\nto\n%s", before, after)
	}
	// No thread is left where it could keep a container's mounts.
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/mnt")
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil && ns != here {
			t.Errorf("%s is %s", task, ns)
		}
	}
}

// Even the exec may need an answer, and so may a program that does not exist.
func TestSuperviseExec(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	c := container(root, "true")
	c.Filter = filterOn(unix.SYS_EXECVE, unix.SECCOMP_RET_USER_NOTIF)
	c.Supervise = func(listener int) error { return answerAll(listener, 0) } // "done", which it is not
	if _, _, err := runOutput(t, c); err == nil {
		t.Error("the program ran although nobody executed it")
	}
	c.Process.Args = []string{"nothing"}
	var exec *ExecError
	if _, _, err := runOutput(t, c); !errors.As(err, &exec) || exec.Status() != 127 {
		t.Errorf("no program: %v", err)
	}
}

func TestSuperviseFails(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "sleep")
	c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_USER_NOTIF)
	broken, start := errors.New("broken"), time.Now()
	c.Supervise = func(int) error { return broken }
	if _, _, err := runOutput(t, c); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), `supervise "helper": `) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > 20*time.Second { // the program sleeps longer
		t.Errorf("Run returned after %v", d)
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// When Run returns nobody is in the container any more, the supervisor included:
// its upper directory can be the next overlay's. With "index=on" the kernel
// refuses one that is in use.
func TestSuperviseLeaves(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	base := t.TempDir()
	o := stack(t, base, 2)
	installHelper(t, o.Lower[1])
	for range 20 {
		if err := unix.Mount("overlay", base+"/merged", "overlay", 0, o.data()+",index=on"); err != nil {
			t.Fatal(err)
		}
		c := container(base+"/merged", "ppid")
		c.Filter = filterOn(unix.SYS_GETPPID, unix.SECCOMP_RET_USER_NOTIF)
		c.Supervise = func(listener int) error { return answerAll(listener, 1) }
		runOK(t, c)
		if err := Unmount(base + "/merged"); err != nil {
			t.Fatal(err)
		}
	}
}
