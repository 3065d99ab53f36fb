package unpriv

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Tests that need namespaces run in a child of the test binary: as an ordinary
// user, and then perhaps in the namespaces of Enter. The variable has the name
// of the test that the process was started for.
const insideVariable = "UNPRIV_TEST_INSIDE"

// asRootVariable has tests keep the ids of root.
const asRootVariable = "UNPRIV_TEST_AS_ROOT"

// TestAsRoot repeats some tests, which otherwise change to an ordinary user, as
// root: virga must work for it just as well.
func TestAsRoot(t *testing.T) {
	needRoot(t)
	const tests = "^Test(RunIsolates|RunStatus|BuildMounts|Bind|HostileImage|ImageIdentity|ImageRoot|EnterNeedsNoHelper|Supervise|MountOverlay|Nested)$"
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run="+tests, "-test.count=1")
	cmd.Env = append(os.Environ(), asRootVariable+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// nobody is the user that tests run as if they are started by root.
const nobody = 65534

// TestMain is also the program that tests run in containers.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "helper" {
		os.Exit(helper(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// inChild reports whether this is the child of the test t. Otherwise it runs the
// child, with the ids of an ordinary user unless keep is set.
func inChild(t *testing.T, keep bool) bool {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name())
	cmd.Dir = "/"
	if os.Geteuid() == 0 && !keep && os.Getenv(asRootVariable) == "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if _, reason, ok := strings.Cut(string(out), "--- SKIP"); ok {
		t.Skipf("child: %s", reason)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("child did not run the test:\n%s", out)
	}
	return false
}

// inNamespaces reports whether this is a child of the test t in the namespaces of
// Enter.
func inNamespaces(t *testing.T, e Entry) bool {
	t.Helper()
	if !inChild(t, e.Isolation == Chroot) {
		return false
	}
	done, status, err := Enter(t.Context(), e)
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	if done {
		if status != (Status{}) {
			t.Fatalf("in namespaces: %v", status)
		}
		os.Exit(0) // the inner process has printed the verdict
	}
	return true
}

// newRoot makes a root file system with nothing in it but the helper.
func newRoot(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	for _, d := range []string{"bin", "dev", "proc", "sys", "etc", "tmp"} {
		mkdir(t, filepath.Join(dir, d))
	}
	for _, f := range []string{"etc/hosts", "etc/resolv.conf"} {
		writeFile(t, filepath.Join(dir, f), "")
	}
	installHelper(t, dir)
	return dir
}

func installHelper(t *testing.T, dir string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(dir, "bin"))
	if err := os.WriteFile(filepath.Join(dir, "bin/helper"), self, 0o755); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// container is a Container that runs the helper in dir.
func container(dir string, args ...string) Container {
	return Container{
		Root:    dir,
		Mounts:  BuildMounts(),
		Process: specs.Process{Args: append([]string{"helper"}, args...), Env: []string{"PATH=/nowhere:/bin"}},
	}
}

// runOK runs a container and returns what it printed. Failures of the container
// fail the test.
func runOK(t *testing.T, c Container) string {
	t.Helper()
	out, status, err := runOutput(t, c)
	if err != nil || status != (Status{}) {
		t.Fatalf("run %q: %v, %v\n%s", c.Process.Args, status, err, out)
	}
	return out
}

func runOutput(t *testing.T, c Container) (string, Status, error) {
	t.Helper()
	var out bytes.Buffer
	if c.Stdout == nil {
		c.Stdout, c.Stderr = &out, &out
	}
	status, err := Run(t.Context(), c)
	return out.String(), status, err
}

// imageOutput runs an image and returns what it wrote to the standard output,
// which it shares with us.
func imageOutput(t *testing.T, im Image) (string, Status, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	status, err := runWithStdout(t, im, w)
	return <-text, status, err
}
