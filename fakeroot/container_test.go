package fakeroot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tests below run programs in a container: the test binary is executed
// again as its builder (in a new user and mount namespace, with one uid), and
// that once more as the first process, which installs the filter and executes
// the program. stageVar says who one is.
const stageVar = "VIRGA_FAKEROOT_STAGE"

func TestMain(m *testing.M) {
	switch os.Getenv(stageVar) {
	case "":
		os.Exit(m.Run())
	case "builder":
		stage(builderStage)
	case "shim":
		stage(shimStage)
	case "program":
		programStage()
	}
}

func stage(f func() error) {
	if err := f(); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(stageVar)+":", err)
		os.Exit(99)
	}
	os.Exit(0)
}

// container says what to run where. Dir has the upper directory, work
// directory and mount point.
type container struct {
	Dir     string
	Lower   string
	Table   Table
	Argv    []string
	Mode    Mode
	Level   Level
	User    Credentials
	Verbose bool
}

// outcome is what became of it.
type outcome struct {
	Status int
	Output string
	Table  Table
	Stats  Stats
}

const testUID = 61234 // the owner of everything when the tests run as root

// userNamespace is the attribute of a process in a namespace with one id.
func userNamespace() *syscall.SysProcAttr {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = testUID, testUID
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
		Pdeathsig:   syscall.SIGKILL,
	}
}

// run executes the container's program.
func (c container) run(t testing.TB) outcome {
	t.Helper()
	var o outcome
	spec, _ := json.Marshal(c)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageVar+"=builder")
	cmd.Stdin = bytes.NewReader(spec)
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = userNamespace()
	if err := cmd.Start(); err != nil {
		t.Skipf("no user namespace: %v", err)
	}
	w.Close()
	results, _ := io.ReadAll(r)
	err = cmd.Wait()
	if err != nil || json.Unmarshal(results, &o) != nil {
		t.Fatalf("container of %q: %v\n%s", c.Argv, err, out.String())
	}
	o.Output = out.String()
	return o
}

// builderStage plays virga build for one RUN.
func builderStage() error {
	var c container
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	results := os.NewFile(3, "results")
	unix.CloseOnExec(3)
	merged, err := c.mount()
	if err != nil {
		return err
	}
	root, err := os.Open(merged)
	if err != nil {
		return err
	}
	records := NewRecords()
	if err := records.Load(root, c.Table, false); err != nil {
		return err
	}
	o, err := c.supervise(merged, records)
	if err != nil {
		return err
	}
	upper, err := os.Open(filepath.Join(c.Dir, "upper"))
	if err != nil {
		return err
	}
	if o.Table, err = records.Collect(upper, root, c.Table); err != nil {
		return err
	}
	return json.NewEncoder(results).Encode(o)
}

// mount assembles the container's root.
func (c container) mount() (string, error) {
	merged := filepath.Join(c.Dir, "merged")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", err
	}
	o := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr,volatile", c.Lower, c.Dir, c.Dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, o); err != nil {
		return "", fmt.Errorf("mount overlay: %w", err)
	}
	for _, d := range []string{"/dev", "/sys"} {
		if err := unix.Mount(d, merged+d, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", fmt.Errorf("bind %s: %w", d, err)
		}
	}
	if _, err := os.Stat(merged + "/etc/resolv.conf"); err == nil {
		if err := unix.Mount("/etc/resolv.conf", merged+"/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
			return "", err
		}
	}
	return merged, nil
}

// supervise starts the first process and serves its notifications.
func (c container) supervise(merged string, records *Records) (outcome, error) {
	o := outcome{}
	po := ProgramOptions{Mode: c.Mode, Level: c.Level}
	prog, err := Program(po)
	if err != nil {
		return o, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return o, err
	}
	spec, _ := json.Marshal(shim{Root: merged, Filter: prog, Notify: po.Notifies(), Argv: c.Argv})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{stageVar + "=shim"}
	cmd.Stdin = bytes.NewReader(spec)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "socket")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL, Setsid: true}
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return o, err
	}
	cmd.ExtraFiles[0].Close()
	served := make(chan error, 1)
	var sup *Supervisor
	if po.Notifies() {
		listener, err := receiveHandle(pair[0])
		if err != nil {
			return o, err
		}
		if sup, err = c.supervisor(records); err != nil {
			return o, err
		}
		go serveIn(sup, merged, listener, served)
	} else {
		served <- nil
	}
	if _, err := unix.Write(pair[0], []byte{1}); err != nil {
		return o, err
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		return o, err
	}
	o.Status = cmd.ProcessState.ExitCode()
	if err := <-served; err != nil {
		return o, err
	}
	if sup != nil {
		o.Stats = sup.Stats()
	}
	return o, nil
}

func (c container) supervisor(records *Records) (*Supervisor, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	upper, err := os.Open(filepath.Join(c.Dir, "upper"))
	if err != nil {
		return nil, err
	}
	o := Options{Mode: c.Mode, Level: c.Level, Records: records, Proc: proc, Upper: upper, User: c.User}
	if c.Verbose {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: levelTrace}))
	}
	return New(o)
}

// serveIn serves from inside the container.
func serveIn(sup *Supervisor, merged string, listener int, served chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_FS)
	if err == nil {
		err = unix.Chroot(merged)
	}
	if err == nil {
		err = sup.Serve(listener)
	}
	unix.Close(listener)
	served <- err
}

// shim says what the first process does.
type shim struct {
	Root   string
	Filter []unix.SockFilter
	Notify bool
	Argv   []string
}

func shimStage() error {
	runtime.LockOSThread()
	var s shim
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	if err := unix.Mount("proc", s.Root+"/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := unix.Chroot(s.Root); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return err
	}
	if err := unix.Dup2(int(null.Fd()), 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	if s.Argv[0] == "self" { // the test binary as the program, see programStage
		env = append(env, stageVar+"=program")
	}
	if len(s.Filter) > 0 {
		if err := s.install(); err != nil {
			return err
		}
	}
	if s.Argv[0] == "self" {
		s.Argv[0] = fmt.Sprintf("/proc/self/fd/%d", self.Fd())
		unix.FcntlInt(self.Fd(), unix.F_SETFD, 0)
	}
	return syscall.Exec(s.Argv[0], s.Argv, env)
}

// install puts the filter on this thread and sends its listener away.
func (s *shim) install() error {
	flags := uintptr(0)
	if s.Notify {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	prog := unix.SockFprog{Len: uint16(len(s.Filter)), Filter: &s.Filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("install filter: %w", errno)
	}
	if !selfTest() {
		return fmt.Errorf("the filter is not active")
	}
	if !s.Notify {
		return nil
	}
	if err := unix.Sendmsg(3, []byte{1}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		return err
	}
	unix.Close(int(fd))
	_, err := unix.Read(3, make([]byte, 1))
	unix.Close(3)
	return err
}

func receiveHandle(sock int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) == 0 {
		return -1, fmt.Errorf("no listener came: %v", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// newContainer makes the directories of a container over lower.
func newContainer(t testing.TB, lower string, table Table, argv ...string) container {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "virga-fakeroot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"upper", "work", "merged"} {
		p := filepath.Join(dir, d)
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(p, testUID, testUID); err != nil {
				t.Fatal(err)
			}
		}
	}
	level, _ := Probe()
	return container{Dir: dir, Lower: lower, Table: table, Argv: argv, Level: level}
}

func removeAll(dir string) {
	if os.Getuid() == 0 {
		os.RemoveAll(dir)
		return
	}
	cmd := exec.Command("rm", "-rf", dir)
	cmd.SysProcAttr = userNamespace()
	cmd.Run()
}

// shell runs a script in a Debian container; it must end with status 0.
func shell(t testing.TB, script string, change func(*container)) outcome {
	t.Helper()
	base := debian(t)
	c := newContainer(t, base.dir, base.table, "/bin/sh", "-ec", script)
	if change != nil {
		change(&c)
	}
	start := time.Now()
	o := c.run(t)
	if o.Status != 0 {
		t.Errorf("status %d\n%s", o.Status, tail(o.Output, 3000))
	}
	t.Logf("%v, %+v, %d records collected", time.Since(start).Round(time.Millisecond), o.Stats, len(o.Table))
	return o
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// lines are the non-empty lines of an output.
func lines(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })
}
