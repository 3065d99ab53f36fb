package unpriv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// helper is the program in containers: its first argument says what to do.
func helper(args []string) int {
	err := help(args)
	if err != nil {
		fmt.Println("helper:", err)
		return 1
	}
	return 0
}

func help(args []string) error {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch arg(0) {
	case "true":
		return nil
	case "exit":
		n, err := strconv.Atoi(arg(1))
		if err == nil {
			os.Exit(n)
		}
		return err
	case "kill":
		n, _ := strconv.Atoi(arg(1))
		return kill(syscall.Signal(n))
	case "show":
		return show(args[1:])
	case "cat":
		b, err := os.ReadFile(arg(1))
		os.Stdout.Write(b)
		return err
	case "write":
		return os.WriteFile(arg(1), []byte(arg(2)), 0o644)
	case "mkdir":
		return os.Mkdir(arg(1), 0o755)
	case "symlink":
		return os.Symlink(arg(1), arg(2))
	case "remove":
		return os.RemoveAll(arg(1))
	case "ls":
		entries, err := os.ReadDir(arg(1))
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	case "echo":
		fmt.Println(strings.Join(args[1:], " "))
		return nil
	case "chown":
		fmt.Println(os.Lchown(arg(1), 1234, 1234))
		return nil
	case "mknod":
		fmt.Println(unix.Mknod(arg(1), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		return nil
	case "mount":
		fmt.Println(unix.Mount("tmpfs", arg(1), "tmpfs", 0, ""))
		return nil
	case "ppid":
		fmt.Println(os.Getppid())
		return nil
	case "background":
		return background(args[1:])
	case "sleep":
		time.Sleep(time.Minute)
		return nil
	case "wait":
		return waitSignal()
	}
	return fmt.Errorf("%q is unknown", args)
}

// kill ends the process by a signal, which process 1 of a namespace can only
// from outside: a child does it for itself and the parent tells.
func kill(s syscall.Signal) error {
	if os.Getpid() != 1 {
		return syscall.Kill(os.Getpid(), s)
	}
	return fmt.Errorf("process 1 ignores signal %d", s)
}

// show prints what is asked for, one a line.
func show(what []string) error {
	for _, w := range what {
		switch w {
		case "pid":
			fmt.Println(os.Getpid())
		case "ids":
			groups, _ := os.Getgroups()
			// The caller's own group may be among its supplementary ones.
			groups = slices.DeleteFunc(groups, func(g int) bool { return g == os.Getgid() })
			fmt.Println(os.Getuid(), os.Getgid(), groups)
		case "dir":
			dir, err := os.Getwd()
			fmt.Println(dir, err)
		case "env":
			fmt.Println(strings.Join(os.Environ(), " "))
		case "name":
			name, _ := os.Hostname()
			fmt.Println(name)
		case "files":
			fmt.Println(openFiles())
		case "umask":
			fmt.Printf("%04o\n", syscall.Umask(0))
		case "session":
			sid, _ := unix.Getsid(0)
			fmt.Println(sid)
		case "processes":
			pids, _ := filepath.Glob("/proc/[0-9]*")
			fmt.Println(len(pids))
		default:
			fmt.Println(status(w))
		}
	}
	return nil
}

// openFiles lists the numbers of open files that are not the Go runtime's.
func openFiles() (out []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if target != "" && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/sys/fs/cgroup/") {
			out = append(out, e.Name())
		}
	}
	return out
}

// status is a line of /proc/self/status.
func status(name string) string {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+":\t"); ok {
			return v
		}
	}
	return "no " + name
}

// background leaves a process behind, in its own session and with its output.
func background(args []string) error {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// waitSignal tells that it is ready, and which signals come.
func waitSignal() error {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH)
	fmt.Println("ready")
	wait := time.Minute
	for {
		select {
		case s := <-ch:
			fmt.Println(s)
			wait = 100 * time.Millisecond // for one too many
		case <-time.After(wait):
			return nil
		}
	}
}
