package fakeroot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exhaustHandles has no handle left for a new file, writes to all that it
// inherited, and has more calls pending than there are workers.
func exhaustHandles() error {
	for fd := 3; fd < 64; fd++ {
		unix.Write(fd, []byte("garbage\x00\xff\xff\xff\xff"))
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 128, Max: 128}); err != nil {
		return err
	}
	var fds []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	fd, err := unix.Open("/tmp/full", unix.O_CREAT|unix.O_RDWR, 0o600)
	if err == nil {
		return fmt.Errorf("open beyond the limit gave %d", fd)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 300)
	for i := range 300 {
		wg.Go(func() {
			runtime.LockOSThread()
			name := fmt.Sprintf("/tmp/e%d", i)
			fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY, 0o600)
			if err != nil {
				if !errors.Is(err, unix.EMFILE) {
					errs <- err
				}
				return
			}
			if err := unix.Fchown(fd, os.Geteuid(), os.Getegid()); err != nil {
				errs <- err
			}
			unix.Close(fd)
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// nestedFilters: a filter of one's own holds beside ours, a listener of one's
// own is refused, and io_uring does not exist.
func nestedFilters() error {
	runtime.LockOSThread()
	_, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	if errno != unix.ENOSYS {
		return fmt.Errorf("io_uring_setup: %v, want %v", errno, unix.ENOSYS)
	}
	unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETPPID, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EXDEV)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != unix.EBUSY {
		return fmt.Errorf("a second listener: %v, want %v", errno, unix.EBUSY)
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return fmt.Errorf("a filter: %w", errno)
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); errno != unix.EXDEV {
		return fmt.Errorf("the program's own filter: %v", errno)
	}
	if err := os.WriteFile("/tmp/nested", nil, 0o644); err != nil {
		return err
	}
	return os.Chown("/tmp/nested", -1, os.Getegid())
}

// traceAndKill stops a child by ptrace in the middle of calls that are being
// answered, changes their arguments, kills it, and kills whatever process it
// can name.
func traceAndKill() error {
	runtime.LockOSThread()
	for i := range 20 {
		cmd := exec.Command("/bin/sh", "-c", "while :; do chown 1:2 /tmp; ls -l / >/dev/null; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		pid := cmd.Process.Pid
		var ws unix.WaitStatus
		unix.Wait4(pid, &ws, 0, nil)
		for range 40 + 10*i {
			if unix.PtraceSyscall(pid, 0) != nil {
				break
			}
			if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil || ws.Exited() {
				break
			}
			disturb(pid)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		cmd.Wait()
	}
	for pid := 2; pid < 2000; pid++ {
		if pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := os.WriteFile("/tmp/alive", nil, 0o644); err != nil {
		return err
	}
	syscall.Kill(0, syscall.SIGKILL) // our own group, and nobody else's; not the first process
	return nil
}

// escapeRoot tries the ways out of a root directory that are known, and has
// the supervisor follow.
func escapeRoot() error {
	os.MkdirAll("/tmp/jail/in/deep", 0o777)
	links := []string{
		"../../../../../../../../../../escaped", "/proc/1/root/../../../escaped", "/proc/self/root/../../../escaped",
		"/proc/self/cwd/../../../../../../escaped", "/proc/self/fd/9/../../../../../escaped", "/proc/thread-self/root/../escaped",
	}
	for i, l := range links {
		os.Symlink(l, fmt.Sprintf("/tmp/jail/l%d", i))
	}
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	unix.Dup2(dir, 9)
	attempt := func() {
		for i, l := range links {
			for _, p := range []string{l, fmt.Sprintf("/tmp/jail/l%d", i), fmt.Sprintf("l%d", i), "../../../../../../escaped"} {
				unix.Mknod(p, unix.S_IFBLK|0o666, 0x700)
				unix.Chown(p, 12, 34)
				unix.Mkdir(p+"-dir", 0o777)
				if fd, err := unix.Open(p+"-file", unix.O_CREAT|unix.O_RDWR, 0o666); err == nil {
					unix.Close(fd)
				}
				unix.Symlink("x", p+"-link")
				unix.Setxattr(p, "trusted.x", []byte("y"), 0)
			}
		}
	}
	attempt()
	// A working directory above the root directory.
	if err := unix.Chdir("/tmp/jail/in/deep"); err != nil {
		return err
	}
	if unix.Chroot("/tmp/jail/in/deep") == nil {
		attempt()
		unix.Fchdir(9)
		attempt()
		unix.Chroot(".")
	}
	// Mounts and namespaces of its own.
	if unix.Unshare(unix.CLONE_NEWNS) == nil {
		unix.Mount("/", "/tmp/jail", "", unix.MS_BIND|unix.MS_REC, "")
		attempt()
	}
	return nil
}
