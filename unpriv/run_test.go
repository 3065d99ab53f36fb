package unpriv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestRunIsolates(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "show", "pid", "ids", "dir", "NoNewPrivs", "processes", "umask", "files", "session", "env", "name", "SigBlk")
	c.Process.Cwd = "/tmp"
	c.Hostname = "somewhere"
	defer unix.Umask(unix.Umask(0o077)) // the caller's is no part of a build
	// Open files that are not close-on-exec must not get in.
	fd, err := unix.Open("/", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Dup3(fd, 200, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(200)
	got := runOK(t, c)
	want := "1\n0 0 []\n/tmp <nil>\n1\n1\n0022\n[0 1 2]\n1\nPATH=/nowhere:/bin\nsomewhere\n0000000000000000\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunStatus(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	writeFile(t, filepath.Join(root, "bin/text"), "no program")
	if err := os.Chmod(filepath.Join(root, "bin/text"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "bin/closed"), "#!/bin/helper")
	writeFile(t, filepath.Join(root, "bin/orphan"), "#!/bin/nothing")
	if err := os.Chmod(filepath.Join(root, "bin/orphan"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		cwd    string
		want   Status
		errno  error
		status int // of the ExecError
		text   string
	}{
		{args: []string{"helper", "true"}},
		{args: []string{"/bin/helper", "exit", "255"}, want: Status{Code: 255}},
		{args: []string{"./helper", "exit", "3"}, cwd: "/bin", want: Status{Code: 3}},
		{args: []string{"nothing"}, errno: unix.ENOENT, status: 127, text: `run "nothing": no such file or directory`},
		{args: []string{"/bin/nothing"}, errno: unix.ENOENT, status: 127},
		{args: []string{""}, errno: unix.ENOENT, status: 127},
		{args: []string{"orphan"}, errno: unix.ENOENT, status: 127, text: `run "/bin/orphan": no such file or directory`},
		{args: []string{"closed"}, errno: unix.EACCES, status: 126, text: `run "/bin/closed": permission denied`},
		{args: []string{"/bin"}, errno: unix.EACCES, status: 126},
		{args: []string{"text"}, errno: unix.ENOEXEC, status: 126, text: `run "/bin/text": exec format error`},
		{args: []string{"helper", strings.Repeat("x", 1<<18)}, errno: unix.E2BIG, status: 126},
		{args: []string{"helper", "true"}, cwd: "/nowhere", errno: unix.ENOENT, text: `enter directory "/nowhere" of the image: no such file or directory`},
	} {
		c := container(root)
		c.Process.Args, c.Process.Cwd = tt.args, tt.cwd
		_, status, err := runOutput(t, c)
		name := fmt.Sprintf("%.40q", tt.args)
		if !errors.Is(err, tt.errno) || tt.errno == nil && status != tt.want {
			t.Errorf("%s: %v, %v; want %v, %v", name, status, err, tt.want, tt.errno)
			continue
		}
		var exec *ExecError
		if errors.As(err, &exec) != (tt.status != 0) || exec != nil && exec.Status() != tt.status {
			t.Errorf("%s: error %#v, want status %d", name, err, tt.status)
		}
		if tt.text != "" && err.Error() != tt.text {
			t.Errorf("%s: error %q, want %q", name, err, tt.text)
		}
	}
}

func TestRunSearchesPath(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	writeFile(t, filepath.Join(root, "first/helper"), "not executable")
	mkdir(t, filepath.Join(root, "second/helper"))
	c := container(root, "echo", "found")
	for _, env := range [][]string{{"PATH=/first:/second:/bin/"}, {"PATH=bin"}, {"PATH=/none::"}, nil} {
		c.Process.Env, c.Process.Cwd = env, "/"
		if len(env) > 0 && strings.HasSuffix(env[0], "::") {
			c.Process.Cwd = "/bin" // an empty element is the working directory
		}
		if got := runOK(t, c); got != "found\n" {
			t.Errorf("%q: got %q", env, got)
		}
	}
}

func TestRunStreams(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "cat", "/dev/stdin")
	if got := runOK(t, c); got != "" {
		t.Errorf("empty standard input gives %q", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		w.WriteString("from outside")
		w.Close()
	}()
	c.Stdin = r
	if got := runOK(t, c); got != "from outside" {
		t.Errorf("standard input gives %q", got)
	}
	var stdout, stderr bytes.Buffer
	c = container(c.Root, "cat", "/nothing")
	c.Stdout, c.Stderr = &stdout, &stderr
	if _, err := Run(t.Context(), c); err != nil || stderr.Len() != 0 || stdout.Len() == 0 {
		t.Errorf("streams %q, %q: %v", stdout.String(), stderr.String(), err)
	}
	c.Stdout, c.Stderr = nil, nil
	if status, err := Run(t.Context(), c); err != nil || status.Code != 1 {
		t.Errorf("without streams: %v, %v", status, err)
	}
}

// What a RUN leaves in the background would change the tree while it is taken.
func TestRunLeavesNoProcess(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	start := time.Now()
	runOK(t, container(newRoot(t), "background", "sleep"))
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("Run returned after %v", d)
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	go func() {
		r.Read(make([]byte, 1)) // the program is ready
		cancel(cause)
	}()
	c := container(newRoot(t), "wait") // which does not die of SIGTERM
	c.Stdout = w
	if _, err := Run(ctx, c); err != cause {
		t.Errorf("error %v, want the cause", err)
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	if _, err := Run(ctx, c); err != cause {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestRunTogether(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	before := mountTable(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			c := container(root, "echo", fmt.Sprint(i))
			var out bytes.Buffer
			c.Stdout = &out
			status, err := Run(t.Context(), c)
			if want := fmt.Sprintln(i); err != nil || status != (Status{}) || out.String() != want {
				t.Errorf("run %d: %v, %v, %q", i, status, err, out.String())
			}
		})
	}
	wg.Wait()
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	if after := mountTable(t); after != before {
		t.Errorf("mounts changed from\n%s\nto\n%s", before, after)
	}
}

// children counts processes that are ours to wait for.
func children(t *testing.T) (n int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Skip("the kernel does not list children")
	}
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		n += len(strings.Fields(string(b)))
	}
	return n
}

// mountTable lists the mounts that a test may have made; those of the host come
// and go.
func mountTable(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "/"+strings.Split(t.Name(), "/")[0]) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// The signals that a Go program handles for itself, its ignored ones, and its
// blocked ones must not become the program's.
func TestRunResetsSignals(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t))
	writeFile(t, filepath.Join(c.Root, "x"), "")
	c.Process.Args = []string{"/bin/cat", "/proc/self/status"}
	for _, dir := range []string{"/bin", "/lib", "/lib64", "/usr"} {
		m, err := Bind(dir, dir, true, true)
		if err != nil {
			t.Skip(err)
		}
		c.Mounts = append(c.Mounts, m)
	}
	got := runOK(t, c)
	// What was ignored when we were started stays so, as after nohup(1).
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	ignored := regexp.MustCompile(`SigIgn:\t.*\n`).FindString(string(own))
	for _, want := range []string{"SigBlk:\t0000000000000000\n", ignored, "SigCgt:\t0000000000000000\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("status lacks %q:\n%s", want, got)
		}
	}
}

// Without a filter that makes believe, USER is a further user namespace.
func TestRunUser(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "show", "ids", "CapEff", "NoNewPrivs")
	c.Process.User = specs.User{UID: 1000, GID: 100}
	if got, want := runOK(t, c), "1000 100 []\n0000000000000000\n1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Process.User = specs.User{}
	if got := runOK(t, c); !strings.Contains(got, "f7ffff\n") {
		t.Errorf("root: got %q, want all capabilities but CAP_SYS_PTRACE", got)
	}
}

func TestRunNetwork(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "cat", "/proc/net/dev")
	c.NoNetwork = true
	got := runOK(t, c)
	if lines := strings.Count(got, "\n"); lines != 3 || !strings.Contains(got, "lo:") {
		t.Errorf("interfaces:\n%s", got)
	}
	c.Process.Args = []string{"helper", "cat", "/proc/net/fib_trie"}
	if got := runOK(t, c); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("the loopback interface has no address:\n%s", got)
	}
}

func TestExecErrorTellsFormat(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	foreign := make([]byte, 64)
	copy(foreign, "\x7fELF\x02\x01\x01")
	foreign[18] = 8 // MIPS
	root := newRoot(t)
	for _, tt := range []struct{ content, hint string }{
		{string(foreign), "the file is a program for mips, and this machine is "},
		{"echo hello", "the file is neither a program nor a script with a #! line"},
		{"", "the file is empty"},
		{"\x7fELF", "the file is a damaged program"},
	} {
		if err := os.WriteFile(root+"/bin/it", []byte(tt.content), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/bin/it", "it", "bin/it"} {
			c := container(root)
			c.Process.Args = []string{name}
			_, _, err := runOutput(t, c)
			var exec *ExecError
			if !errors.As(err, &exec) || !strings.HasPrefix(exec.Hint(), tt.hint) {
				t.Errorf("%q, %q: %v, hint %q", name, tt.content, err, exec.Hint())
			}
		}
	}
}

// Nodes without disks have a root that pivot_root(2) refuses to leave.
func TestRunFromRootfs(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "echo", "here")
	l, err := newLaunch("helper")
	if err != nil {
		t.Fatal(err)
	}
	l.rootfs = true
	var out bytes.Buffer
	s, err := newStreams(nil, &out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.plan(l, s.files); err != nil {
		t.Fatal(err)
	}
	status, err := l.run(t.Context(), nil)
	s.close()
	s.wait()
	if err != nil || status != (Status{}) || out.String() != "here\n" {
		t.Errorf("got %q, %v, %v", out.String(), status, err)
	}
}

func TestDescribe(t *testing.T) {
	big := make([]byte, 20)
	copy(big, "\x7fELF\x02\x02")
	big[19] = 22
	if got, want := describe(big, "amd64"), "a program for s390x, and this machine is amd64"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := describe(big, "s390x"); !strings.Contains(got, "damaged") {
		t.Errorf("got %q", got)
	}
	big[18], big[19] = 0xff, 0xff
	if got := describe(big, "s390x"); !strings.Contains(got, "ELF machine 65535") {
		t.Errorf("got %q", got)
	}
}
