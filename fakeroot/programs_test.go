package fakeroot

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programs run inside a container as this binary, which is watched: it is not
// position-independent. They end with 0 if all is well.
func programs() map[string]func() error {
	return map[string]func() error{
		"garbage": callGarbage,
		"race":    racePaths,
		"bomb":    forkAndKill,
		"threads": manyThreads,
		"signals": signalStorm,
		"fuse":    fuseDeadlock,
		"create":  createMany,
		"exhaust": exhaustHandles,
		"nested":  nestedFilters,
		"trace":   traceAndKill,
		"escape":  escapeRoot,
	}
}

func programNames() []string { return slices.Sorted(maps.Keys(programs())) }

func programStage() {
	program, ok := programs()[os.Args[1]]
	if !ok {
		program = func() error { return timeCalls(timedCalls()[os.Args[1]]) }
	}
	if err := program(); err != nil {
		fmt.Println(os.Args[1]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// callGarbage makes every call the filter knows with nonsense.
func callGarbage() error {
	if err := os.Chdir("/tmp"); err != nil {
		return err
	}
	page, err := unix.Mmap(-1, 0, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if err := unix.Mprotect(page[4096:], unix.PROT_NONE); err != nil {
		return err
	}
	for i := range page[:4096] {
		page[i] = "a/.b"[i%4]
	}
	base := uintptr(unsafe.Pointer(&page[0]))
	random := rand.New(rand.NewPCG(1, 2))
	values := []uintptr{0, 1, 2, 3, base, base + 4090, base + 4096, base + 4095, ^uintptr(0), ^uintptr(0) >> 1, ^uintptr(0) >> 16,
		^uintptr(4095), 1 << 31, unix.O_CREAT | unix.O_RDWR, unix.S_IFCHR | 0o600, 1000}
	skip := map[string]bool{"execve": true, "execveat": true, "clone": true, "unshare": true, "setns": true, "pivot_root": true, "chroot": true, "prlimit64": true, "setrlimit": true}
	for range 300 {
		for _, row := range callNumbers {
			nr := row.nr[nativeArch()]
			if nr < 0 || skip[row.name] {
				continue
			}
			var a [6]uintptr
			for i := range a {
				a[i] = values[random.IntN(len(values))]
			}
			fd, _, errno := unix.Syscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5])
			if errno == 0 && fd > 10 && fd < 1000 && (row.name == "open" || row.name == "openat" || row.name == "creat") {
				unix.Close(int(fd))
			}
		}
	}
	return nil
}

// racePaths changes a path while the supervisor reads it: between files, and
// between a directory and a link to the supervisor's own handles.
func racePaths() error {
	if err := os.Mkdir("/tmp/r", 0o777); err != nil {
		return err
	}
	for i, target := range []string{"/proc/self/fd/3", "/proc/1/root", "../../../../..", "/proc/self/cwd", "/tmp/r"} {
		os.Symlink(target, fmt.Sprintf("/tmp/r/%d", i))
	}
	buf := []byte("/tmp/r/0/escaped\x00")
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		defer wg.Done()
		for i := 0; !stop.Load(); i++ {
			buf[7] = '0' + byte(i%5)
		}
	}()
	go func() {
		defer wg.Done()
		for i := 0; !stop.Load(); i++ {
			os.Remove("/tmp/r/x")
			os.Symlink([]string{"/proc/self/fd", "/tmp", "/dev"}[i%3], "/tmp/r/x")
		}
	}()
	path := uintptr(unsafe.Pointer(&buf[0]))
	x := []byte("/tmp/r/x/5\x00")
	for range 3000 {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(unix.AT_FDCWD&(1<<32-1)), path, unix.O_CREAT|unix.O_WRONLY, 0o666, 0, 0)
		if errno == 0 {
			unix.Close(int(fd))
		}
		unix.Syscall6(unix.SYS_FCHOWNAT, uintptr(unix.AT_FDCWD&(1<<32-1)), path, 1, 2, 0, 0)
		unix.Syscall6(unix.SYS_MKNODAT, uintptr(unix.AT_FDCWD&(1<<32-1)), path, unix.S_IFCHR|0o666, 0x103, 0, 0)
		unix.Syscall6(unix.SYS_FCHOWNAT, uintptr(unix.AT_FDCWD&(1<<32-1)), uintptr(unsafe.Pointer(&x[0])), 1, 2, 0, 0)
		unix.Syscall6(unix.SYS_MKDIRAT, uintptr(unix.AT_FDCWD&(1<<32-1)), uintptr(unsafe.Pointer(&x[0])), 0o777, 0, 0, 0)
	}
	stop.Store(true)
	wg.Wait()
	return nil
}

// forkAndKill has many short processes, some of which are killed in a call.
func forkAndKill() error {
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 60 {
				cmd := exec.Command("/bin/sh", "-c", "while :; do chown 1:2 /tmp; ls -l /tmp >/dev/null; done")
				if i%4 != 0 {
					cmd = exec.Command("/bin/chown", "1:2", "/tmp")
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				if err := cmd.Start(); err != nil {
					continue
				}
				if i%4 == 0 {
					time.Sleep(time.Duration(i) * time.Millisecond / 4)
					syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				}
				cmd.Wait()
			}
		}()
	}
	wg.Wait()
	return nil
}

// manyThreads has threads that change owners of their own files at once.
func manyThreads() error {
	var bad atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			name := fmt.Sprintf("/tmp/t%d", i)
			if os.WriteFile(name, nil, 0o644) != nil {
				bad.Add(1)
			}
			gid := os.Getegid()
			for range 50 {
				if os.Chown(name, -1, gid) != nil {
					bad.Add(1)
				}
				var st unix.Stat_t
				if unix.Stat(name, &st) != nil || int(st.Gid) != gid || int(st.Uid) != os.Geteuid() {
					bad.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d wrong results", n)
	}
	return nil
}

// createMany makes files in several threads; each is the one that was made.
func createMany() error {
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 500 {
				name := fmt.Sprintf("/tmp/c%d-%d", i, j)
				if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
					failed.Store(&err)
				}
				if b, err := os.ReadFile(name); err != nil || string(b) != name {
					err = fmt.Errorf("%s: %q, %v", name, b, err)
					failed.Store(&err)
				}
			}
		}()
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// signalStorm interrupts calls all the time; none may fail for it.
func signalStorm() error {
	if err := os.WriteFile("/tmp/s", nil, 0o644); err != nil {
		return err
	}
	tick := unix.Itimerval{Interval: unix.Timeval{Usec: 300}, Value: unix.Timeval{Usec: 300}}
	if _, err := unix.Setitimer(unix.ITIMER_REAL, tick); err != nil {
		return err
	}
	for i := range 3000 {
		if err := unix.Fchownat(unix.AT_FDCWD, "/tmp/s", os.Geteuid(), os.Getegid(), 0); err != nil && err != unix.EINTR {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	return nil
}

// fuseDeadlock mounts a file system of its own that answers look-ups only after
// a call the supervisor must answer, while the supervisor looks up a file there.
func fuseDeadlock() error {
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
	if err != nil {
		return nil // this machine has none
	}
	if err := os.Mkdir("/tmp/fuse", 0o755); err != nil {
		return err
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev)
	if err := unix.Mount("fuse", "/tmp/fuse", "fuse", 0, opts); err != nil {
		return nil // not allowed
	}
	go serveFuse(dev)
	done := make(chan error, 1)
	go func() {
		var st unix.Stat_t
		done <- unix.Stat("/tmp/fuse/x", &st)
	}()
	select {
	case err := <-done:
		if err != unix.ENOENT {
			return fmt.Errorf("stat: %v, want %v", err, unix.ENOENT)
		}
	case <-time.After(20 * time.Second):
		return fmt.Errorf("deadlock")
	}
	return nil
}

// serveFuse speaks the least of the protocol (linux/fuse.h): INIT, GETATTR of
// the root and ENOENT for everything else.
func serveFuse(dev int) {
	buf := make([]byte, 1<<17)
	le := binary.LittleEndian
	for {
		n, err := unix.Read(dev, buf)
		if err != nil || n < 40 {
			return
		}
		op, unique := le.Uint32(buf[4:]), le.Uint64(buf[8:])
		var body []byte
		errno := uint32(0)
		switch op {
		case 26: // INIT
			body = make([]byte, 64)
			le.PutUint32(body[0:], 7)
			le.PutUint32(body[4:], 31)
			le.PutUint32(body[20:], 4096)
		case 3: // GETATTR
			body = make([]byte, 104)
			le.PutUint64(body[16:], 1)
			le.PutUint32(body[16+60:], 0o40755)
			le.PutUint32(body[16+64:], 2)
		case 2, 42: // FORGET, BATCH_FORGET: no answer
			continue
		default:
			unix.Getuid() // the supervisor must answer this one first
			errno = uint32(unix.ENOENT)
		}
		out := make([]byte, 16, 16+len(body))
		le.PutUint32(out[0:], uint32(16+len(body)))
		le.PutUint32(out[4:], -errno)
		le.PutUint64(out[8:], unique)
		unix.Write(dev, append(out, body...))
	}
}
