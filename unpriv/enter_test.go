package unpriv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// As anywhere: no setuid helper is there, and none could work.
func TestEnterNeedsNoHelper(t *testing.T) {
	if os.Getenv(insideVariable) == t.Name() && !Entered() {
		os.Clearenv()
		os.Setenv(insideVariable, t.Name())
		os.Setenv("PATH", "")
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if !inNamespaces(t, Entry{}) {
		return
	}
	if os.Getuid() != 0 || os.Getgid() != 0 {
		t.Errorf("ids are %d:%d", os.Getuid(), os.Getgid())
	}
	if got := status("NoNewPrivs"); got != "1" {
		t.Errorf("NoNewPrivs is %s", got)
	}
	for _, name := range []string{"uid_map", "gid_map"} {
		b, err := os.ReadFile("/proc/self/" + name)
		if f := strings.Fields(string(b)); err != nil || len(f) != 3 || f[0] != "0" || f[2] != "1" {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""); err != nil {
		t.Errorf("mount: %v", err)
	}
	if !strings.HasSuffix(os.Args[0], marker) || Entered() != true {
		t.Errorf("argv[0] is %q", os.Args[0])
	}
}

// victim starts the test again as a process that calls Enter and whose inner
// process prints "ready" and what signal comes.
func victim(t *testing.T) (cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name()+"/victim")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out = bufio.NewReader(r)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("victim says %q, %v", line, err)
	}
	return cmd, out
}

// enterAndWait is the victim. It ends as main would have it.
func enterAndWait(t *testing.T, ctx context.Context, e Entry) {
	done, status, err := Enter(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	if done {
		os.Exit(status.Exit())
	}
	waitSignal()
	os.Exit(42)
}

func TestEnterEndsWithContext(t *testing.T) {
	if os.Getenv(insideVariable) == t.Name()+"/victim" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		enterAndWait(t, ctx, Entry{})
	}
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	cmd, out := victim(t)
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if string(rest) != "terminated\n" || cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("inner process heard %q, %v", rest, cmd.ProcessState)
	}
}

func TestInnerDiesWithOuter(t *testing.T) {
	if os.Getenv(insideVariable) == t.Name()+"/victim" {
		enterAndWait(t, t.Context(), Entry{})
	}
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	cmd, out := victim(t)
	cmd.Process.Kill()
	cmd.Wait()
	end := make(chan error, 1)
	go func() {
		_, err := out.ReadByte()
		end <- err
	}()
	select {
	case err := <-end:
		if err != io.EOF {
			t.Errorf("after the kill: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the inner process lives on")
	}
}

// Inside a user namespace with one id, as on a cluster inside a container.
func TestNested(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	im := anImage(root, "show", "ids")
	im.Process.User.UID, im.Process.User.GID = 7, 8
	if got, _, err := imageOutput(t, im); err != nil || withoutOverflow(got) != "7 8 []\n" {
		t.Errorf("image: %q, %v", got, err)
	}
	if err := Probe(t.Context()).UserNS; err != nil {
		t.Error(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestEnterNeedsNoHelper$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=TestEnterNeedsNoHelper")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("Enter: %v\n%s", err, out)
	}
}

// The limit is set inside a user namespace, where its root may.
func TestForbidden(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		t.Skip(err)
	}
	os.Args[0] = strings.TrimSuffix(os.Args[0], marker) // as if we had not been entered
	defer func() { os.Args[0] += marker }()
	_, _, enter := Enter(t.Context(), Entry{})
	_, image := RunImage(t.Context(), anImage(newRoot(t), "true"))
	for name, err := range map[string]error{"Enter": enter, "RunImage": image, "Probe": Probe(t.Context()).UserNS} {
		var no *NamespaceError
		if !errors.As(err, &no) || !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := "create user namespace: this host does not allow it, or no more"; no.Error() != want {
			t.Errorf("%s: %q, want %q", name, no.Error(), want)
		}
		if want := "user.max_user_namespaces is 0; the administrator must set it"; !strings.HasPrefix(no.Hint(), want) {
			t.Errorf("%s: hint %q", name, no.Hint())
		}
	}
}

func TestNamespaceAdvice(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/good", "1\n")
	writeFile(t, dir+"/bad", "0\n")
	list := []setting{{dir + "/none", "0", "none"}, {dir + "/good", "0", "good"}, {dir + "/bad", "0", "set it"}}
	if got := namespaceAdvice(list, unix.EPERM); got != "set it" {
		t.Errorf("got %q", got)
	}
	if got := namespaceAdvice(list[:2], unix.ENOSPC); !strings.Contains(got, "in use") {
		t.Errorf("ENOSPC without a setting: %q", got)
	}
	if got := namespaceAdvice(list[:2], unix.EPERM); !strings.Contains(got, "security policy") {
		t.Errorf("EPERM without a setting: %q", got)
	}
}

func TestRealRoot(t *testing.T) {
	for text, want := range map[string]uint64{
		"":                                   0,
		"         0          0 4294967295\n": 4294967295,
		"         0       1000          1\n": 1,
		"0 1000 1\n1 100000 65536\n":         65537,
	} {
		if got := mappedIDs(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestChrootNeedsRoot(t *testing.T) {
	if !inNamespaces(t, Entry{}) { // root of a user namespace is not real
		return
	}
	os.Args[0] = strings.TrimSuffix(os.Args[0], marker)
	defer func() { os.Args[0] += marker }()
	done, _, err := Enter(t.Context(), Entry{Isolation: Chroot})
	var root *RootError
	if !done || !errors.As(err, &root) || err.Error() != "isolation chroot: needs real root" || root.Hint() == "" {
		t.Errorf("got %v, %v", done, err)
	}
}
